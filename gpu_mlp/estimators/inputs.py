"""Features as the network takes them: checked by scikit-learn on the host, or left on the device where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from gpu_mlp.errors import DataError, ShapeError

__all__ = ["checked_features", "checked_pair", "is_on_a_device"]

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
