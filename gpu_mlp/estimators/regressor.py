"""`MLPRegressor`: scikit-learn's, with more losses."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, column_or_1d

from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError, ShapeError
from gpu_mlp.estimators.base import BaseMLP
from gpu_mlp.estimators.constraints import SHARED
from gpu_mlp.estimators.inputs import checked_pair, on_host

__all__ = ["MLPRegressor"]


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for numbers, with scikit-learn's parameters, names and defaults, on any device.

    loss: squared_error, poisson (of counts; the output is the log of the rate), huber, absolute_error or quantile. Of
    several outputs scikit-learn's squared error is the mean over the outputs while its gradient is that of the sum:
    `loss_` is the former and the updates are the latter here too.

    Beside scikit-learn's parameters:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of the products: None for the type of X, or tf32, bf16, fp16.
        dropout: share of hidden units dropped in each step.
        huber_delta, quantile: of these losses.
        activation: any of the package, and one for each hidden layer where a sequence is given.
        optimizer: sgd, momentum, nesterov, rmsprop, adagrad, adam, adamw or lion with torch.optim's formulas, instead
            of `solver`'s; of `learning_rate_init`, `momentum`, `beta_1`, `beta_2` and `epsilon`.
        schedule: constant, step, exponential, cosine, one_cycle or plateau: what the learning rate is multiplied with.
        clip_norm: largest norm of all gradients together.
        callbacks: `gpu_mlp.Callback`s, told of every epoch.
        progress: a line on stderr for every tenth of the epochs.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED,
        "loss": [StrOptions({"squared_error", "poisson", "huber", "absolute_error", "quantile"})],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }
    stratifies: ClassVar[bool] = False

    loss: str
    huber_delta: float
    quantile: float

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        device: str = "auto",
        precision: str | None = None,
        dropout: float = 0.0,
        huber_delta: float = 1.0,
        quantile: float = 0.5,
        optimizer: str | None = None,
        schedule: str | None = None,
        clip_norm: float | None = None,
        callbacks: Sequence[Any] = (),
        progress: bool = False,
    ) -> None:
        self._keep(locals())

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """One epoch over X (N, D) and y (N,) or (N, O), from where the last call ended."""
        return self._fit(X, y, sample_weight, incremental=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """R^2 of the predictions for X (N, D)."""
        return float(super().score(X, on_host(y), on_host(sample_weight)))

    def _checked(self, x: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any]:
        x, y = checked_pair(self, x, y, reset=reset, numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if y.dtype.kind in "US":
            raise DataError(
                f"y holds text, such as {str(y.flat[0])!r}, but MLPRegressor takes numbers; convert them, or use "
                "MLPClassifier for classes"
            )
        return x, y

    def _checked_validation(self, y: Any) -> NDArray[Any]:
        name, shape = type(self).__name__, (len(y), self.n_outputs_)
        found: NDArray[Any] = check_array(
            y, dtype="numeric", ensure_2d=False, estimator=name, input_name="y_val"
        )
        if found.shape != shape and not (found.ndim == self.n_outputs_ == 1):
            raise ShapeError(
                f"y_val has shape {found.shape}, but y has {self.n_outputs_} outputs; give as many"
            )
        return found

    def _loss(self) -> Loss:
        if self.loss == "squared_error":
            return Loss("squared_error", factor=0.5, reported=1.0 / self.n_outputs_)
        return Loss(self.loss, huber_delta=self.huber_delta, quantile=self.quantile)

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _targets(self, y: NDArray[Any], dtype: Any) -> NDArray[Any]:
        return y.astype(dtype, copy=False)

    def _row_constants(self, y: NDArray[Any]) -> NDArray[Any] | None:
        """scikit-learn's Poisson loss is half the deviance: y log(y) - y beside exp(f) - y f."""
        if self.loss != "poisson":
            return None
        constants: NDArray[Any] = (xlogy(y, y) - y).sum(axis=1)
        return constants

    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        if self.out_activation_ == "exp":
            outputs = np.exp(outputs)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _score_of(self, y: NDArray[Any], answers: NDArray[Any], sample_weight: Any) -> float:
        return float(r2_score(y, answers, sample_weight=sample_weight))
