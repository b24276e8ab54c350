"""Features as the network takes them: checked by scikit-learn on the host, or left on the device where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import validate_data

from gpu_mlp.errors import DataError, ShapeError

__all__ = ["check_same_sizes", "checked_features", "checked_pair", "dense", "is_on_a_device", "row_blocks"]

# Of a sparse matrix that are made dense at once.
SPARSE_ROWS_AT_ONCE = 8192
FORMATS = ("csr", "csc")
FLOATS = (np.float64, np.float32)


def is_on_a_device(x: Any) -> bool:
    """Whether it is an array of a GPU, which scikit-learn's checks would refuse."""
    return hasattr(x, "__cuda_array_interface__")


def checked_pair(estimator: Any, x: Any, y: Any, *, reset: bool, numeric: bool) -> tuple[Any, Any]:
    """X as an array or sparse matrix of float32 or float64, and y, both as scikit-learn's own estimators take them."""
    if is_on_a_device(x):
        y = np.asarray(y.get() if hasattr(y, "get") else y.cpu() if hasattr(y, "cpu") else y)
        return checked_features(estimator, x, reset=reset), y
    features, targets = validate_data(
        estimator,
        x,
        y,
        accept_sparse=list(FORMATS),
        multi_output=True,
        y_numeric=numeric,
        dtype=FLOATS,
        reset=reset,
    )
    return features, targets


def checked_features(estimator: Any, x: Any, *, reset: bool = False) -> Any:
    """X alone. Raises ValueError for another number of features than was fitted, and for what is no number."""
    if not is_on_a_device(x):
        return validate_data(estimator, x, accept_sparse=list(FORMATS), dtype=FLOATS, reset=reset)
    if x.ndim != 2:
        raise ShapeError(f"X has shape {tuple(x.shape)}, but must be (rows, features)")
    features = int(x.shape[1])
    if reset:
        estimator.n_features_in_ = features
        estimator.__dict__.pop("feature_names_in_", None)
    elif features != estimator.n_features_in_:
        raise DataError(
            f"X has {features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    return x


def check_same_sizes(name: str, coefs: Sequence[Any], sizes: Sequence[int]) -> None:
    """Raise ShapeError where a later call asks for another network than the coefficients (in, out) are of."""
    shapes = [np.shape(each) for each in coefs]
    hidden, outputs = [each[1] for each in shapes[:-1]], shapes[-1][1]
    if list(sizes[1:-1]) != hidden:
        raise ShapeError(
            f"hidden_layer_sizes is {list(sizes[1:-1])}, but this {name} was fitted with {hidden}; set it back, or "
            "fit without warm_start"
        )
    if sizes[-1] != outputs:
        raise ShapeError(
            f"y has {sizes[-1]} outputs, but this {name} was fitted with {outputs}; give as many, or fit without "
            "warm_start"
        )


def dense(x: Any) -> Any:
    """A sparse matrix as an array, anything else as it is."""
    return x.toarray() if scipy.sparse.issparse(x) else x


def row_blocks(x: Any) -> Iterator[Any]:
    """A sparse matrix a block of dense rows at a time, anything else at once."""
    if not scipy.sparse.issparse(x):
        yield x
        return
    x = x.tocsr()
    for start in range(0, x.shape[0], SPARSE_ROWS_AT_ONCE):
        yield x[start : start + SPARSE_ROWS_AT_ONCE].toarray()
