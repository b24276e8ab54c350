"""What scikit-learn's estimators do not know is refused in a sentence: what was given, expected, and to be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.backends import select
from gpu_mlp.errors import ConfigError, DataError, DeviceError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 3
VALUES = X @ [1.0, -2.0, 0.5]


def classifier(**settings: Any) -> gpu_mlp.MLPClassifier:
    return gpu_mlp.MLPClassifier(**{"hidden_layer_sizes": (4,), "max_iter": 2, "device": "cpu"} | settings)


def regressor(**settings: Any) -> gpu_mlp.MLPRegressor:
    return gpu_mlp.MLPRegressor(**{"hidden_layer_sizes": (4,), "max_iter": 2, "device": "cpu"} | settings)


REFUSALS: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "unknown device",
        lambda: classifier(device="gpu").fit(X, Y),
        ConfigError,
        'device \'gpu\' is unknown; choose "auto", "cpu", "cuda" or "cuda:N"',
    ),
    (
        "X_val alone",
        lambda: classifier().fit(X, Y, X_val=X),
        ConfigError,
        "X_val was given without y_val; give the targets of its rows too",
    ),
    (
        "y_val alone",
        lambda: regressor().fit(X, VALUES, y_val=VALUES),
        ConfigError,
        "y_val was given without X_val; give the features of its rows too",
    ),
    (
        "features of X_val",
        lambda: classifier().fit(X, Y, X_val=X[:, :2], y_val=Y),
        ValueError,
        "X has 2 features, but MLPClassifier is expecting 3 features as input.",
    ),
    (
        "rows of y_val",
        lambda: regressor().fit(X, VALUES, X_val=X, y_val=VALUES[1:]),
        ShapeError,
        "y_val has 39 rows, but X_val has 40; give one target a row",
    ),
    (
        "one row to validate on",
        lambda: regressor().fit(X, VALUES, X_val=X[:1], y_val=VALUES[:1]),
        ShapeError,
        "X_val has 1 row, but a score needs at least 2; hold out more rows",
    ),
    (
        "outputs of y_val",
        lambda: regressor().fit(X, VALUES, X_val=X, y_val=X),
        ShapeError,
        "y_val has shape (40, 3), but y has 1 outputs; give as many",
    ),
    (
        "NaN in y_val",
        lambda: regressor().fit(X, VALUES, X_val=X, y_val=VALUES * np.nan),
        ValueError,
        "Input y_val contains NaN.",
    ),
    (
        "unseen classes in y_val",
        lambda: classifier().fit(X, Y, X_val=X, y_val=Y + 1),
        DataError,
        "y_val has 3, but the classes of y are [0 1 2]; leave such rows out",
    ),
    (
        "text in y_val",
        lambda: classifier().fit(X, Y, X_val=X, y_val=["a"] * 40),
        DataError,
        "y_val has 'a', but the classes of y are [0 1 2]; leave such rows out",
    ),
    (
        "labels of y_val",
        lambda: classifier().fit(X, X > 0, X_val=X, y_val=X[:, :2] > 0),
        ShapeError,
        "y_val has shape (40, 2), but y has 3 labels for each row; give as many",
    ),
    (
        "a label that is none",
        lambda: classifier().fit(X, X > 0, X_val=X, y_val=np.full((40, 3), 2)),
        DataError,
        "y_val has 2, but a label is 0 or 1; leave such rows out",
    ),
    (
        "a callback that is none",
        lambda: classifier(callbacks=[gpu_mlp.Callback]).fit(X, Y),
        ConfigError,
        "an item of callbacks is <class 'gpu_m...cks.Callback'>, but must be a gpu_mlp.Callback",
    ),
    (
        "too few activations",
        lambda: classifier(activation=["relu"], hidden_layer_sizes=(5, 4, 3)).fit(X, Y),
        ConfigError,
        "activation names 1 layers, but there are 3 hidden layers, of widths (5, 4, 3); give one name, or one for each",
    ),
    (
        "an unknown activation of one layer",
        lambda: classifier(activation=["tan"]).fit(X, Y),
        ConfigError,
        "activation 'tan' is unknown; did you mean 'tanh'?",
    ),
    (
        "a precision that rounds float32",
        lambda: classifier(precision="bf16").fit(X, Y),
        ConfigError,
        "precision 'bf16' rounds float32, but the network has dtype float64; use float32",
    ),
    (
        "a momentum that the package's optimizer does not have",
        lambda: classifier(optimizer="momentum", momentum=1.0).fit(X, Y),
        ConfigError,
        "momentum is 1.0, but must be at least 0 and less than 1",
    ),
    (
        "what L-BFGS cannot use",
        lambda: classifier(solver="lbfgs", dropout=0.1, clip_norm=1.0, callbacks=[gpu_mlp.Callback()]).fit(
            X, Y, X_val=X, y_val=Y
        ),
        ConfigError,
        (
            "solver 'lbfgs' takes the whole table at once and cannot use dropout, clip_norm, callbacks, X_val; choose "
            "solver 'adam' or 'sgd', or leave them out"
        ),
    ),
    (
        "unknown classes in class_weight",
        lambda: classifier(class_weight={9: 1.0}).fit(X, Y),
        ValueError,
        "The classes, [0, 1, 2], are not in class_weight",
    ),
    (
        "balanced weights of a part",
        lambda: classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2]),
        ConfigError,
        (
            "class_weight 'balanced' counts all rows, of which partial_fit sees a part; give each class its weight, as "
            "sklearn.utils.compute_class_weight finds it"
        ),
    ),
    (
        "a negative class weight",
        lambda: classifier(class_weight={0: -1.0}).fit(X, Y),
        DataError,
        "class_weight is {0: -1.0}, but a weight must be finite and at least 0",
    ),
    (
        "a negative sample weight",
        lambda: regressor().fit(X, VALUES, sample_weight=-np.ones(40)),
        DataError,
        (
            "sample_weight holds a negative, NaN or infinite weight or nothing but zeros; give finite weights of at "
            "least 0"
        ),
    ),
    (
        "other hidden layers after a warm start",
        lambda: classifier(warm_start=True).fit(X, Y).set_params(hidden_layer_sizes=(5, 4)).fit(X, Y),
        ShapeError,
        (
            "hidden_layer_sizes is [5, 4], but this MLPClassifier was fitted with [4]; set it back, or fit without "
            "warm_start"
        ),
    ),
    (
        "other outputs after a warm start",
        lambda: regressor(warm_start=True).fit(X, VALUES).fit(X, X),
        ShapeError,
        "y has 3 outputs, but this MLPRegressor was fitted with 1; give as many, or fit without warm_start",
    ),
    (
        "text for the regressor",
        lambda: regressor().fit(X, np.array(["a"] * 40)),
        DataError,
        "y holds text, such as 'a', but MLPRegressor takes numbers; convert them, or use MLPClassifier for classes",
    ),
    (
        "negative counts",
        lambda: regressor(loss="poisson").fit(X, -np.arange(40.0)),
        ShapeError,
        "targets reach down to -39, but poisson takes counts of at least 0",
    ),
    (
        "assigned intercepts of another shape",
        lambda: _with_intercepts(np.ones(5)).predict(X),
        ShapeError,
        "biases[0] has shape (4,), but was given (5,)",
    ),
]


def _with_intercepts(first: Any) -> gpu_mlp.MLPClassifier:
    estimator = classifier().fit(X, Y)
    estimator.intercepts_[0] = first
    return estimator


@pytest.mark.parametrize(
    ("call", "type_", "text"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_it_is_refused_in_a_sentence(call: Callable[[], Any], type_: type[Exception], text: str) -> None:
    with pytest.raises(type_) as caught:
        call()
    assert caught.type is type_
    assert str(caught.value) == text


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CuPy, and whatever this machine has."""

    def missing(index: int) -> Any:
        raise DeviceError("a CUDA device was asked for, but there is none")

    monkeypatch.setattr("gpu_mlp.backends.cuda_backend.cuda_ops", missing)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match="a CUDA device was asked for, but there is none"):
            classifier(device=name).fit(X, Y)
    monkeypatch.setenv(select.DEVICE_VARIABLE, "cuda")
    with pytest.raises(DeviceError, match="GPU_MLP_DEVICE is 'cuda': a CUDA device was asked for"):
        classifier(device="auto").fit(X, Y)


def test_both_estimators_refuse_partial_fit_of_lbfgs() -> None:
    """scikit-learn's classifier does; its regressor would start over, since it never calls its own check."""
    for estimator in (classifier(solver="lbfgs"), regressor(solver="lbfgs")):
        assert not hasattr(estimator, "partial_fit")
        with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as caught:
            estimator.partial_fit(X, Y)
        assert str(caught.value.__cause__) == (
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
