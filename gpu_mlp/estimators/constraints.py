"""What the estimators' parameters may be: scikit-learn's constraints, and those of what it does not have."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from gpu_mlp.backends.base import ACTIVATION_NAMES, PRECISION_NAMES
from gpu_mlp.config import OPTIMIZER_NAMES, SCHEDULE_NAMES

__all__ = ["SHARED", "activation_names"]

# What scikit-learn calls sigmoid.
LOGISTIC = "logistic"

SHARED: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({*ACTIVATION_NAMES, LOGISTIC}), list, tuple],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    # And what scikit-learn does not have.
    "device": [str],
    "precision": [StrOptions(set(PRECISION_NAMES)), None],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "optimizer": [StrOptions(set(OPTIMIZER_NAMES)), None],
    "schedule": [StrOptions(set(SCHEDULE_NAMES)), None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "callbacks": [list, tuple],
    "progress": ["boolean"],
}


def activation_names(activation: Any) -> str | tuple[str, ...]:
    """The package's names: one for all hidden layers, or one for each."""
    if isinstance(activation, str):
        return "sigmoid" if activation == LOGISTIC else activation
    return tuple("sigmoid" if name == LOGISTIC else name for name in activation)
