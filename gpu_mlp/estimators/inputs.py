"""Features, targets and weights as the network takes them: checked by scikit-learn on the host, or left on the device.

What is on another device than the estimator's is brought to it, and what knows DLPack alone is read through that.
Targets and weights are checked, encoded and split on the host, wherever they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import (
    _check_n_features,
    assert_all_finite,
    check_consistent_length,
    validate_data,
)

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_backend import to_host_array
from gpu_mlp.backends.select import device_ops
from gpu_mlp.errors import ShapeError

__all__ = [
    "check_same_sizes",
    "checked_features",
    "checked_pair",
    "dense",
    "on_host",
    "rows_at",
]

# What is checked on a device at once.
ELEMENTS_AT_ONCE = 1 << 24
FORMATS = ("csr", "csc")
FLOATS = (np.float64, np.float32)
FLOAT32_NAMES = {"float32", ">f4", "<f4"}


def is_on_a_device(x: Any) -> bool:
    """Whether it is an array of a GPU, which scikit-learn's checks would refuse."""
    return hasattr(x, "__cuda_array_interface__")


def on_host(values: Any) -> Any:
    """An array of a GPU, or of what knows DLPack alone, as NumPy's; anything else as it is."""
    if is_on_a_device(values) or (hasattr(values, "__dlpack__") and not hasattr(values, "__array__")):
        return to_host_array(values)
    return values


def checked_pair(estimator: Any, x: Any, y: Any, *, reset: bool, numeric: bool) -> tuple[Any, Any]:
    """X as an array or a sparse matrix, and y on the host, both as scikit-learn's own estimators take them."""
    of_y = {"multi_output": True, "y_numeric": numeric}
    y, ops = on_host(y), _ops_of_features(estimator, x)
    if ops is None:
        features, targets = validate_data(
            estimator,
            on_host(x),
            y,
            accept_sparse=list(FORMATS),
            dtype=_float_types(x),
            reset=reset,
            **of_y,
        )
        return features, targets
    x = _checked_on_device(estimator, ops, x)
    y = validate_data(estimator, y=y, reset=reset, **of_y)
    check_consistent_length(x, y)
    _check_n_features(estimator, x, reset=reset)
    return x, y


def checked_features(estimator: Any, x: Any) -> Any:
    """X alone. Raises ValueError for another number of features than was fitted, and for what is no number."""
    ops = _ops_of_features(estimator, x)
    if ops is None:
        return validate_data(
            estimator, on_host(x), accept_sparse=list(FORMATS), dtype=_float_types(x), reset=False
        )
    x = _checked_on_device(estimator, ops, x)
    validate_data(estimator, x, skip_check_array=True, reset=False)  # its number and names of features
    return x


def _float_types(x: Any) -> Any:
    """The types that X may keep: float32 stays where scikit-learn would not know it, as of PyTorch and polars."""
    types = list(x.dtypes) if hasattr(x, "dtypes") else [getattr(x, "dtype", None)]
    names = {str(each).removeprefix("torch.").lower() for each in types}
    return np.float32 if names <= FLOAT32_NAMES else FLOATS


def _ops_of_features(estimator: Any, x: Any) -> Ops | None:
    """The estimator's backend where X is to be checked and left on a GPU, else None."""
    if not is_on_a_device(x):
        return None
    ops = device_ops(estimator.device)
    return None if ops.device == "cpu" else ops


def _checked_on_device(estimator: Any, ops: Ops, given: Any) -> Array:
    """X (N, D) on the device, whose network converts it, with scikit-learn's refusals of what it is not."""
    x: Any = ops.as_array(given)
    if x.ndim != 2 or 0 in x.shape or x.dtype.kind not in "fiub":
        validate_data(estimator, ops.to_host(x), dtype=FLOATS, reset=False)
    size = max(ELEMENTS_AT_ONCE // x.shape[1], 1)
    blocks = [x[start : start + size] for start in range(0, len(x), size)]
    xp = ops.xp
    if not all(bool(xp.isfinite(block).all()) for block in blocks):
        found = np.nan if any(bool(xp.isnan(block).any()) for block in blocks) else np.inf
        dtype = x.dtype if x.dtype in FLOATS else FLOATS[0]
        assert_all_finite(np.array([found], dtype), estimator_name=type(estimator).__name__, input_name="X")
    return x  # type: ignore[no-any-return]


def rows_at(ops: Ops, x: Any, indices: np.ndarray[Any, Any]) -> Any:
    """Rows of checked features, where they are."""
    return x[ops.to_device(indices) if is_on_a_device(x) else indices]


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
