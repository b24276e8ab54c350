"""`MLPClassifier`: scikit-learn's, with class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_class_weight, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d

from gpu_mlp.config import Loss
from gpu_mlp.errors import ConfigError, DataError, ShapeError
from gpu_mlp.estimators.base import BaseMLP
from gpu_mlp.estimators.constraints import SHARED
from gpu_mlp.estimators.inputs import checked_features, checked_pair, on_host

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for classes, with scikit-learn's parameters, names and defaults, on any device.

    Two classes and several labels at once have logistic outputs, more classes a softmax; the loss is the cross-entropy.

    Beside scikit-learn's parameters:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of the products: None for the type of X, or tf32, bf16, fp16.
        dropout: share of hidden units dropped in each step.
        class_weight: "balanced" (by `fit` alone), or a weight for each class, by which its rows' sample weights are
            multiplied; of several labels a list of such.
        label_smoothing: how much of every target is spread over all classes.
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
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }
    stratifies: ClassVar[bool] = True
    # As scikit-learn's, which has no choice.
    loss: ClassVar[str] = "log_loss"

    class_weight: Any
    label_smoothing: float

    def __init__(
        self,
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
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        optimizer: str | None = None,
        schedule: str | None = None,
        clip_norm: float | None = None,
        callbacks: Sequence[Any] = (),
        progress: bool = False,
    ) -> None:
        self._keep(locals())

    @available_if(lambda estimator: estimator._check_solver())  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:  # noqa: N803
        """One epoch over X (N, D) and y, from where the last call ended; the first call is told all `classes`."""
        if isinstance(self.class_weight, str):
            raise ConfigError(
                "class_weight 'balanced' counts all rows, of which partial_fit sees a part; give each class its "
                "weight, as sklearn.utils.compute_class_weight finds it"
            )
        y, classes = on_host(y), on_host(classes)
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer.fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def _checked(self, x: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, Any]:
        x, y = checked_pair(self, x, y, reset=reset, numeric=False)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        return x, self._label_binarizer.transform(y).astype(bool)

    def _check_classes(self, classes: NDArray[Any]) -> None:
        """Those of a later call must be known."""
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _row_weights(self, y: Any, sample_weight: Any) -> Any:
        if self.class_weight is None:
            return sample_weight
        if isinstance(self.class_weight, dict) and self._label_binarizer.y_type_ in ("binary", "multiclass"):
            # A part of the table need not have every class.
            of_classes = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
            weights = of_classes[np.searchsorted(self.classes_, column_or_1d(y))]
        else:
            weights = compute_sample_weight(self.class_weight, y)
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise DataError(
                f"class_weight is {self.class_weight}, but a weight must be finite and at least 0"
            )
        return weights if sample_weight is None else weights * sample_weight

    def _loss(self) -> Loss:
        if self.out_activation_ == "softmax":
            return Loss("softmax_cross_entropy", label_smoothing=self.label_smoothing)
        return Loss("binary_cross_entropy")

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _targets(self, y: NDArray[Any], dtype: Any) -> NDArray[Any]:
        if self.out_activation_ == "softmax":
            labels: NDArray[Any] = y.argmax(axis=1)
            return labels
        targets: NDArray[Any] = y.astype(dtype)
        if self.label_smoothing:  # of two classes
            targets = targets * (1.0 - self.label_smoothing) + self.label_smoothing / 2
        return targets

    def _probabilities(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Of every output, (N, O)."""
        found: NDArray[Any] = (
            softmax(outputs, axis=1) if self.out_activation_ == "softmax" else expit(outputs)
        )
        return found

    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        found = self._probabilities(outputs)
        answers: NDArray[Any] = self._label_binarizer.inverse_transform(
            found.ravel() if self.n_outputs_ == 1 else found
        )
        return answers

    def _validation_answers(self, y: NDArray[Any]) -> NDArray[Any]:
        answers: NDArray[Any] = self._label_binarizer.inverse_transform(y)
        return answers

    def _checked_validation(self, y: Any) -> NDArray[Any]:
        found = np.asarray(y)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found.ravel()
        if self._label_binarizer.y_type_.startswith("multilabel"):
            if found.shape != (len(found), self.n_outputs_):
                raise ShapeError(
                    f"y_val has shape {found.shape}, but y has {self.n_outputs_} labels for each row; give as many"
                )
            unknown, known = found[(found != 0) & (found != 1)], "a label is 0 or 1"
        else:
            found = column_or_1d(found)
            unknown, known = found[~np.isin(found, self.classes_)], f"the classes of y are {self.classes_}"
        if len(unknown):
            raise DataError(f"y_val has {unknown.tolist()[0]!r}, but {known}; leave such rows out")
        return found

    def _score_of(self, y: NDArray[Any], answers: NDArray[Any], sample_weight: Any) -> float:
        return float(accuracy_score(y, answers, sample_weight=sample_weight))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """The share of rows whose class, or whose labels altogether, are predicted right."""
        return float(super().score(X, on_host(y), on_host(sample_weight)))

    def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The probability of every class, or of every label, for each row of X (N, D): (N, C)."""
        check_is_fitted(self)
        found = self._probabilities(self._outputs(checked_features(self, X)))
        return np.hstack([1.0 - found, found]) if self.n_outputs_ == 1 else found

    def predict_log_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """log(predict_proba(X)), (N, C)."""
        found = self.predict_proba(X)
        np.log(found, out=found)
        return found

    def __sklearn_tags__(self) -> Any:
        """Several labels at once are taken."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
