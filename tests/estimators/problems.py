"""Random problems of every task, and settings for them, as scikit-learn's estimators take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TASKS", "Problem", "random_problem"]

TASKS = ("binary", "multi-class", "multi-label", "regression", "multi-output", "poisson")


@dataclass(frozen=True)
class Problem:
    """A table, whether it is of classes, the estimator's settings and the weights of the rows."""

    x: NDArray[np.float64]
    y: NDArray[Any]
    classes: bool
    settings: dict[str, Any]
    sample_weight: NDArray[np.float64] | None


def random_problem(seed: int) -> Problem:
    """One of each task in turn; solver, activation, penalty, schedules and weights by chance."""
    rng = np.random.default_rng(seed)
    task = TASKS[seed % len(TASKS)]
    rows, features = int(rng.integers(60, 240)), int(rng.integers(3, 9))
    x = rng.normal(size=(rows, features))
    y: NDArray[Any] = {
        "binary": lambda: (x[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(int),
        "multi-class": lambda: rng.integers(0, 4, rows),
        "multi-label": lambda: (x[:, :3] + rng.normal(size=(rows, 3)) > 0).astype(int),
        "regression": lambda: x @ rng.normal(size=features) + rng.normal(size=rows),
        "multi-output": lambda: x @ rng.normal(size=(features, 3)),
        "poisson": lambda: rng.poisson(np.exp(0.5 * x[:, 0])).astype(float),
    }[task]()
    solver = rng.choice(["adam", "sgd", "lbfgs"])
    settings = {
        "solver": str(solver),
        "activation": str(rng.choice(["relu", "tanh", "logistic", "identity"])),
        "alpha": float(10 ** rng.uniform(-5, 0)),
        "hidden_layer_sizes": [(7,), (5, 4), (3, 3, 3)][int(rng.integers(3))],
        "max_iter": int(rng.integers(5, 40)),
        "random_state": seed,
        "learning_rate_init": float(10 ** rng.uniform(-3, -1.5)),
        "batch_size": ["auto", 16, 33][int(rng.integers(3))],
        "early_stopping": bool(rng.integers(2)) and solver != "lbfgs",
        "learning_rate": str(rng.choice(["constant", "invscaling", "adaptive"])),
        "momentum": float(rng.choice([0.0, 0.5, 0.9])),
        "nesterovs_momentum": bool(rng.integers(2)),
        "shuffle": bool(rng.integers(4)),
        "tol": 1e-3,
        "n_iter_no_change": 3,
    } | ({"loss": "poisson"} if task == "poisson" else {})
    sample_weight = rng.random(rows) + 0.1 if rng.integers(2) else None
    return Problem(x, y, task in TASKS[:3], settings, sample_weight)
