"""What the classifier and the regressor share: a thin shell around the package's network, steps and epochs."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from gpu_mlp.config import Loss, NetworkConfig, check_type
from gpu_mlp.estimators import solvers
from gpu_mlp.estimators.constraints import SHARED, activation_names
from gpu_mlp.estimators.inputs import check_same_sizes, checked_features, on_host
from gpu_mlp.estimators.session import Session, initial_parameters
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import History
from gpu_mlp.learning.progress import progress_for
from gpu_mlp.learning.tables import Table, given_table

__all__ = ["BaseMLP"]


class BaseMLP(TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """An estimator's parameters are scikit-learn's, and `fit` draws, counts and stops as scikit-learn's does.

    Its coefficients are (in, out), the transposes of the network's weights.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED

    # Every parameter is an attribute; these are read here.
    hidden_layer_sizes: Any
    activation: Any
    solver: str
    optimizer: str | None
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    max_iter: int
    shuffle: bool
    random_state: Any
    verbose: Any
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    callbacks: Any
    progress: bool
    device: str
    precision: str | None
    n_features_in_: int
    coefs_: list[NDArray[Any]]
    intercepts_: list[NDArray[Any]]
    _session: Session
    _trained_on: str  # the device of the last fit

    def _keep(self, given: dict[str, Any]) -> None:
        """Every parameter of the constructor as an attribute of its name."""
        for name in inspect.signature(type(self)).parameters:
            setattr(self, name, given[name])

    # ---- what a classifier and a regressor do differently

    @abstractmethod
    def _checked(self, x: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """X, and y (N, O) as it is split and weighted."""

    @abstractmethod
    def _loss(self) -> Loss:
        """The package's loss, once `n_outputs_` is known."""

    @abstractmethod
    def _out_activation(self) -> str:
        """What scikit-learn calls the function of the outputs."""

    @abstractmethod
    def _targets(self, y: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """y (N, O) as the package's loss reads it."""

    @abstractmethod
    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """What `predict` returns for f_K (N, O)."""

    @abstractmethod
    def _score_of(self, y: NDArray[Any], answers: NDArray[Any], sample_weight: Any) -> float:
        """Accuracy or R^2 of validation rows."""

    def _validation_answers(self, y: NDArray[Any]) -> NDArray[Any]:
        """y (N, O) as `_score_of` compares it."""
        return y

    @abstractmethod
    def _checked_validation(self, y: Any) -> NDArray[Any]:
        """What the user gave as `y_val`, (N,) or (N, O), as `_score_of` compares it."""

    def _row_constants(self, y: NDArray[Any]) -> NDArray[Any] | None:
        """What scikit-learn's loss of every row has beside the package's, (N,)."""
        return None

    def _row_weights(self, y: Any, sample_weight: Any) -> Any:
        """The weights of the rows, with those of their classes if there are any."""
        return sample_weight

    # ---- fitting

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:  # noqa: N803
        """Fit the model to X (N, D) and y (N,) or (N, O).

        X_val, y_val: rows whose score decides where `early_stopping` is set, instead of a part of X; else it is only
        kept in `validation_scores_` and `history_`.
        """
        return self._fit(X, y, sample_weight, incremental=False, validation=(X_val, y_val))

    def _fit(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool,
        validation: tuple[Any, Any] = (None, None),
    ) -> Self:
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given = y
        x, y = self._checked(x, y, incremental=incremental, reset=first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(on_host(sample_weight), x)
        sample_weight = self._row_weights(on_host(given), sample_weight)
        if y.ndim == 1:
            y = y.reshape(-1, 1)
        self.n_outputs_ = y.shape[1]
        dtype = np.dtype(np.float32 if str(x.dtype).endswith("float32") else np.float64)
        sizes = (x.shape[1], *hidden, self.n_outputs_)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize(sizes, dtype)
        else:
            check_same_sizes(type(self).__name__, self.coefs_, sizes)
        self._trained_on = self._open(sizes, dtype).network.device
        if not incremental or not hasattr(self, "history_"):
            self.history_ = History()
        solvers.solve(self, x, y, sample_weight, incremental=incremental, validation=validation)
        self.coefs_, self.intercepts_ = self._session.show()
        if not all(np.isfinite(each).all() for each in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        return self

    def _initialize(self, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """The first coefficients, and everything that counts, at 0."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._out_activation()
        self.coefs_, self.intercepts_ = initial_parameters(
            self._random_state, activation_names(self.activation), sizes, dtype
        )
        self.__dict__.pop("_session", None)
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None

    def _open(self, sizes: tuple[int, ...], dtype: np.dtype[Any], *, to_predict: bool = False) -> Session:
        """The network with the coefficients as they are now.

        A model that was fitted on a GPU predicts on the CPU where there is none.
        """
        config = NetworkConfig(sizes, activation_names(self.activation), dtype=dtype.name)  # type: ignore[arg-type]
        session: Session | None = self.__dict__.get("_session")
        if session is None or not session.serves(config, self.device, to_predict=to_predict):
            elsewhere = to_predict and self.__dict__.get("_trained_on", "cpu") != "cpu"
            self._session = session = Session(
                config, self.coefs_, self.intercepts_, self.device, elsewhere=elsewhere
            )
            self.coefs_, self.intercepts_ = session.show()
        session.read(self.coefs_, self.intercepts_)
        self.device_ = session.network.device
        return session

    def _fitted(self) -> Session:
        """As `_open`, from the coefficients alone."""
        check_is_fitted(self)
        shapes = [np.shape(each) for each in self.coefs_]
        sizes = (shapes[0][0], *(columns for _, columns in shapes))
        dtype = np.dtype(np.float32 if self.coefs_[0].dtype == np.float32 else np.float64)
        return self._open(sizes, dtype, to_predict=True)

    def _table(self, x: Any, y: NDArray[Any], sample_weight: Any, loss: Loss) -> Table:
        """Rows as the package's steps read them."""
        network = self._session.network
        targets = self._targets(y, network.dtype)
        return given_table(network, loss, "training data", x, targets, sample_weight)

    # ---- using

    def _outputs(self, x: Any) -> NDArray[Any]:
        """f_K (N, O), on the host."""
        network = self._fitted().network
        precision = self.precision or "auto"
        return np.asarray(network.ops.to_host(network(x, precision=precision)))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The class or value of every row of X (N, D)."""
        check_is_fitted(self)
        return self._answers(self._outputs(checked_features(self, X)))

    def transform(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The last hidden layer's units h_K (N, D_K) of every row of X (N, D); X itself without a hidden layer."""
        check_is_fitted(self)
        x = checked_features(self, X)
        network = self._fitted().network
        inputs = network.as_inputs(x)
        size = network.rows_at_once
        blocks = (inputs[start : start + size] for start in range(0, len(inputs), size))
        return np.concatenate([network.ops.to_host(network.forward(block).h[-1]) for block in blocks])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """The names of what `transform` returns, such as mlpclassifier0."""
        check_is_fitted(self)
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{i}" for i in range(self.coefs_[-1].shape[0])], dtype=object)

    def _validation_score(self, x: Any, y: NDArray[Any], sample_weight: Any) -> float:
        """NaN where the network gives no finite answer."""
        answers = self._answers(self._outputs(x))
        if np.issubdtype(answers.dtype, np.floating) and not np.isfinite(answers).all():
            return float("nan")
        return float(self._score_of(y, answers, sample_weight))

    # ---- keeping

    def __getstate__(self) -> dict[str, Any]:
        """All but what is on a device."""
        state: dict[str, Any] = dict(super().__getstate__())
        for name in ("_session", "_step"):
            state.pop(name, None)
        return state

    def __sklearn_tags__(self) -> Any:
        """Sparse features are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def uses_sgd(self) -> bool:
        """Whether scikit-learn's learning rates of SGD apply."""
        return self.solver == "sgd" and self.optimizer is None

    def _listeners(self) -> tuple[Callback, ...]:
        """Who is told of the epochs."""
        for callback in self.callbacks:
            check_type("an item of callbacks", callback, Callback, "a gpu_mlp.Callback")
        if not self.progress:
            return tuple(self.callbacks)
        from rich.console import Console

        return (progress_for(Console(stderr=True), "score"), *self.callbacks)

    def _loss_grad_lbfgs(
        self,
        packed: NDArray[Any],
        X: Any,  # noqa: N803
        y: NDArray[Any],
        sample_weight: Any,
        *_: Any,
    ) -> tuple[float, NDArray[Any]]:
        """As scikit-learn's method; the memory that it wants after the weights is not needed."""
        self._fitted()
        return solvers.packed_objective(self, packed, X, y, sample_weight)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True
