"""scikit-learn's estimators: `partial_fit` on one batch is one step of Adam."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.cases import EPOCHS, Case, Data
from gpu_mlp.benchmark.contestants.base import Fit, Peer, UnableError, Work

__all__ = ["ScikitLearn"]


class ScikitLearn(Peer):
    """MLPClassifier and MLPRegressor, which have one output for two classes."""

    name = "sklearn"

    def set_up(self, case: Case, data: Data) -> Work:
        """An estimator with the data's weights and a new optimizer."""
        if case.precision not in ("float32", "float64"):
            raise UnableError(f"scikit-learn has no {case.precision}")
        if case.problem.layer_sizes[-1] == 2:
            raise UnableError("scikit-learn has one output for two classes, another network")
        kind = _Fit if case.task == "fit" else _Work
        return kind(_estimator(case, data), case, data)


def _estimator(case: Case, data: Data) -> Any:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    kind = MLPRegressor if case.problem.is_regression else MLPClassifier
    estimator = kind(
        hidden_layer_sizes=case.problem.layer_sizes[1:-1],
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=case.problem.learning_rate,
        shuffle=False,
        max_iter=EPOCHS,
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=0,
    )
    _fit(estimator, case, Data(data.x[: case.batch], data.y[: case.batch], data.weights, data.biases))
    _give_weights(estimator, data)
    estimator._optimizer = AdamOptimizer(estimator.coefs_ + estimator.intercepts_, case.problem.learning_rate)
    return estimator


def _give_weights(estimator: Any, data: Data) -> None:
    estimator.coefs_ = [omega.T.copy() for omega in data.weights]
    estimator.intercepts_ = [beta.copy() for beta in data.biases]


def _fit(estimator: Any, case: Case, data: Data) -> None:
    if case.problem.is_regression:
        estimator.partial_fit(data.x, data.y.ravel())
    else:
        estimator.partial_fit(data.x, data.y, classes=np.arange(case.problem.layer_sizes[-1]))


class _Work:
    def __init__(self, estimator: Any, case: Case, data: Data) -> None:
        self._estimator, self._case, self._data = estimator, case, data
        self._outputs: Any = None

    def run(self, count: int) -> None:
        for _ in range(count):
            if self._case.task == "inference":
                self._outputs = self._estimator._forward_pass_fast(self._data.x, check_input=False)
            else:
                _fit(self._estimator, self._case, self._data)

    def result(self) -> NDArray[Any]:
        if self._case.task == "inference":
            # Of a classification it gives softmax(f), whose logarithm is f up to a number for each row.
            return np.asarray(self._outputs if self._case.problem.is_regression else np.log(self._outputs))
        return np.asarray(_factor(self._case) * self._estimator.loss_)


def _factor(case: Case) -> float:
    """Half the squared error is what scikit-learn minimises, which Adam does not tell from the whole."""
    return 2.0 if case.problem.is_regression else 1.0


class _Fit(Fit):
    """`fit`, which goes on from the weights that the estimator has."""

    def __init__(self, estimator: Any, case: Case, data: Data) -> None:
        estimator.warm_start = True
        self._estimator, self._case, self._data = estimator, case, data

    def losses(self, *, shuffle: bool) -> list[float]:
        from sklearn.exceptions import ConvergenceWarning

        estimator = self._estimator
        _give_weights(estimator, self._data)
        estimator.loss_curve_, estimator.shuffle = [], shuffle
        estimator.best_loss_, estimator._no_improvement_count = np.inf, 0
        y = self._data.y.ravel() if self._case.problem.is_regression else self._data.y
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(self._data.x, y)
        return [_factor(self._case) * loss for loss in estimator.loss_curve_]
