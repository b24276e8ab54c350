"""The rows that a fit is scored on: a part of the table, drawn as scikit-learn draws it, or the user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from gpu_mlp.errors import ConfigError, ShapeError
from gpu_mlp.estimators.inputs import checked_features, dense, on_host, rows_at

__all__ = ["check_both", "given_rows", "split"]


def split(estimator: Any, x: Any, y: NDArray[Any], sample_weight: Any) -> tuple[Any, Any]:
    """x, y and weights of training rows, and of validation rows, with the numbers that scikit-learn draws.

    Rows of x are taken where they are.
    """
    stratify = y if estimator.stratifies and estimator.n_outputs_ == 1 else None
    parts = train_test_split(
        np.arange(x.shape[0]),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=stratify,
    )
    if len(parts[1]) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    ops = estimator._session.network.ops
    train, held_out = (
        (rows_at(ops, x, rows), y[rows], None if sample_weight is None else sample_weight[rows])
        for rows in parts
    )
    return train, (held_out[0], estimator._validation_answers(held_out[1]), held_out[2])


def check_both(x: Any, y: Any) -> None:
    """Raise ConfigError where one of X_val and y_val is missing."""
    if (x is None) != (y is None):
        raise ConfigError(
            "y_val was given without X_val; give the features of its rows too"
            if x is None
            else "X_val was given without y_val; give the targets of its rows too"
        )


def given_rows(estimator: Any, x: Any, y: Any) -> tuple[Any, Any, None]:
    """Rows that were held out by the user, checked as rows to predict are."""
    x, y = checked_features(estimator, x), np.asarray(dense(on_host(y)))
    if x.shape[0] < 2:
        raise ShapeError("X_val has 1 row, but a score needs at least 2; hold out more rows")
    if len(y) != x.shape[0]:
        raise ShapeError(f"y_val has {len(y)} rows, but X_val has {x.shape[0]}; give one target a row")
    return x, estimator._checked_validation(y), None
