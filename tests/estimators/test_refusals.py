"""The same bad call on scikit-learn's class and on ours: exceptions and warnings of one type, word for word."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import neural_network

import gpu_mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LABELS = np.arange(40) % 3
LARGE = X.astype(np.float32) * 1e30
VALUES = X @ [1.0, -2.0, 0.5]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}

Call = Callable[[Callable[..., Any], np.ndarray[Any, Any]], Any]


class Outcome(NamedTuple):
    """What a call came to: its exception, if any, and its warnings."""

    exception: tuple[type, str] | None
    warnings: list[tuple[type, str]]


def outcome(package: Any, name: str, call: Call) -> Outcome:
    """Of a call that is given the estimator's class with quick settings, and targets that fit it."""

    def make(**settings: Any) -> Any:
        return getattr(package, name)(**QUICK | settings)

    exception = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call(make, LABELS if name == "MLPClassifier" else VALUES)
        except (Exception, KeyboardInterrupt) as error:
            exception = type(error), str(error)
    # NumPy's warnings of overflow are of scikit-learn's way to compute, not of what it has to say.
    said = [(each.category, str(each.message)) for each in caught if each.category is not RuntimeWarning]
    return Outcome(exception, said)


def with_value(value: float) -> np.ndarray[Any, Any]:
    """X with one of its values replaced."""
    x = X.copy()
    x[7, 1] = value
    return x


def named(*names: str) -> pd.DataFrame:
    """X as a DataFrame."""
    return pd.DataFrame(X, columns=list(names))


class Interrupts(np.random.RandomState):
    """A generator whose second shuffle is interrupted."""

    shuffles = 0

    def shuffle(self, x: Any) -> None:
        self.shuffles += 1
        if self.shuffles == 2:
            raise KeyboardInterrupt
        super().shuffle(x)


# Of both estimators.
BOTH: dict[str, Call] = {
    "NaN in X": lambda make, y: make().fit(with_value(np.nan), y),
    "infinity in X": lambda make, y: make().fit(with_value(np.inf), y),
    "infinity in float32 X": lambda make, y: make().fit(with_value(-np.inf).astype(np.float32), y),
    "NaN in sparse X": lambda make, y: make().fit(scipy.sparse.csr_matrix(with_value(np.nan)), y),
    "NaN in X of predict": lambda make, y: make().fit(X, y).predict(with_value(np.nan)),
    "infinity in X of partial_fit": lambda make, y: make(max_iter=1).fit(X, y).partial_fit(with_value(np.inf), y),
    "X of text": lambda make, y: make().fit(np.full((40, 3), "a"), y),
    "X of complex numbers": lambda make, y: make().fit(X * 1j, y),
    "1-d X": lambda make, y: make().fit(X[:, 0], y),
    "1-d X of predict": lambda make, y: make().fit(X, y).predict(X[0]),
    "3-d X": lambda make, y: make().fit(X[:, :, None], y),
    "no rows": lambda make, y: make().fit(X[:0], y[:0]),
    "no features": lambda make, y: make().fit(X[:, :0], y),
    "no rows to predict": lambda make, y: make().fit(X, y).predict(X[:0]),
    "y is None": lambda make, y: make().fit(X, None),
    "y of another length": lambda make, y: make().fit(X, y[:-1]),
    "3-d y": lambda make, y: make().fit(X, y[:, None, None]),
    "y is a column": lambda make, y: make().fit(X, y[:, None]),
    "NaN in y": lambda make, y: make().fit(X, np.where(np.arange(40) == 3, np.nan, y)),
    "infinity in y": lambda make, y: make().fit(X, np.where(np.arange(40) == 3, np.inf, y)),
    "sample_weight of another length": lambda make, y: make().fit(X, y, sample_weight=np.ones(39)),
    "sample_weight of zeros": lambda make, y: make().fit(X, y, sample_weight=np.zeros(40)),
    "2-d sample_weight": lambda make, y: make().fit(X, y, sample_weight=np.ones((40, 2))),
    "NaN in sample_weight": lambda make, y: make().fit(X, y, sample_weight=np.full(40, np.nan)),
    "sample_weight of text": lambda make, y: make().fit(X, y, sample_weight=["a"] * 40),
    "too few features to predict": lambda make, y: make().fit(X, y).predict(X[:, :2]),
    "too many features to predict": lambda make, y: make().fit(X, y).predict(np.hstack([X, X])),
    "too few features in partial_fit": lambda make, y: make().fit(X, y).partial_fit(X[:, :2], y),
    "too few features to score": lambda make, y: make().fit(X, y).score(X[:, :2], y),
    "other feature names": lambda make, y: make().fit(named("a", "b", "c"), y).predict(named("a", "b", "d")),
    "feature names in another order": lambda make, y: make()
    .fit(named("a", "b", "c"), y)
    .predict(named("c", "b", "a")),
    "no feature names to predict": lambda make, y: make().fit(named("a", "b", "c"), y).predict(X),
    "feature names only to predict": lambda make, y: make().fit(X, y).predict(named("a", "b", "c")),
    "other feature names in partial_fit": lambda make, y: make()
    .fit(named("a", "b", "c"), y)
    .partial_fit(named("a", "b", "d"), y),
    "predict before fit": lambda make, y: make().predict(X),
    "score before fit": lambda make, y: make().score(X, y),
    "partial_fit with early stopping": lambda make, y: make(early_stopping=True).fit(X, y).partial_fit(X, y),
    "validation set too small": lambda make, y: make(early_stopping=True, validation_fraction=0.001).fit(X, y),
    "no training rows left": lambda make, y: make(early_stopping=True, validation_fraction=0.99).fit(X[:4], y[:4]),
    "a hidden layer of 0": lambda make, y: make(hidden_layer_sizes=(4, 0)).fit(X, y),
    "a hidden layer of -1": lambda make, y: make(hidden_layer_sizes=(-1,)).fit(X, y),
    "hidden layers as an array": lambda make, y: make(hidden_layer_sizes=np.array([4, -2])).fit(X, y),
    "weights beyond float32": lambda make, y: make(learning_rate_init=1e300, solver="sgd").fit(LARGE, y),
    "weights beyond float64": lambda make, y: make(learning_rate_init=1e200, solver="sgd").fit(X * 1e200, y),
    "batch size beyond the rows": lambda make, y: make(batch_size=41).fit(X, y),
    "batch size beyond the training rows": lambda make, y: make(batch_size=40, early_stopping=True).fit(X, y),
    "too few epochs": lambda make, y: make(max_iter=3).fit(X, y),
    "too few iterations of lbfgs": lambda make, y: make(solver="lbfgs", max_iter=1).fit(X, y),
    "too few evaluations of lbfgs": lambda make, y: make(solver="lbfgs", max_fun=1, max_iter=100).fit(X, y),
    "an interruption": lambda make, y: make(random_state=Interrupts(0), max_iter=9).fit(X, y),
    "an interruption of partial_fit": lambda make, y: [
        estimator.partial_fit(X, y) for estimator in [make(random_state=Interrupts(0)).fit(X, y)]
    ],
    "a warm start from other features": lambda make, y: make(warm_start=True).fit(X, y).fit(X[:, :2], y),
}  # fmt: skip

CLASSIFIER: dict[str, Call] = {
    "partial_fit of lbfgs": lambda make, y: make(solver="lbfgs").fit(X, y).partial_fit(X, y),
    "a continuous y": lambda make, y: make().fit(X, VALUES),
    "several continuous outputs": lambda make, y: make().fit(X, X[:, :2]),
    "several outputs of many classes": lambda make, y: make().fit(X, np.stack([y, y], axis=1)),
    "one class": lambda make, y: make().fit(X, np.zeros(40, int)),
    "one class of text": lambda make, y: make().fit(X, ["a"] * 40),
    "one class with early stopping": lambda make, y: make(early_stopping=True).fit(X, np.zeros(40, int)),
    "a class of one row with early stopping": lambda make, y: make(early_stopping=True).fit(X, np.arange(40) // 39),
    "more classes than validation rows": lambda make, y: make(early_stopping=True, validation_fraction=0.05).fit(X, y),
    "text and numbers": lambda make, y: make().fit(X, np.array(["a", 1] * 20, object)),
    "no classes at the first partial_fit": lambda make, y: make().partial_fit(X, y),
    "other classes in a later partial_fit": lambda make, y: make()
    .partial_fit(X, y, classes=[0, 1, 2])
    .partial_fit(X, y, classes=[0, 1]),
    "unseen classes in partial_fit": lambda make, y: make().partial_fit(X, y, classes=[0, 1]),
    "unseen classes in a later partial_fit": lambda make, y: make().fit(X, y).partial_fit(X, y + 1),
    "unseen text in partial_fit": lambda make, y: make().partial_fit(X, np.array(["a", "b"])[y // 2], classes=["a"]),
    "a warm start with fewer classes": lambda make, y: make(warm_start=True).fit(X, y).fit(X, np.minimum(y, 1)),
    "a warm start with other classes": lambda make, y: make(warm_start=True).fit(X, y).fit(X, y + 1),
    "a warm start of labels with one more": lambda make, y: make(warm_start=True)
    .fit(X, X[:, :2] > 0)
    .fit(X, X > 0),
    "partial_fit of one more label": lambda make, y: make().fit(X, X[:, :2] > 0).partial_fit(X, X > 0),
    "predict_proba before fit": lambda make, y: make().predict_proba(X),
    "predict_log_proba before fit": lambda make, y: make().predict_log_proba(X),
    "too few features of predict_proba": lambda make, y: make().fit(X, y).predict_proba(X[:, :2]),
}  # fmt: skip

REGRESSOR: dict[str, Call] = {
    "y of texts that are no numbers": lambda make, y: make().fit(X, np.array(["a"] * 40, object)),
    "y of texts that are numbers": lambda make, y: make().fit(X, np.array(["1", "2"] * 20, object)),
}


def cases() -> list[Any]:
    """Every call of every estimator."""
    calls = {"MLPClassifier": BOTH | CLASSIFIER, "MLPRegressor": BOTH | REGRESSOR}
    return [
        pytest.param(name, call, id=f"{name[3:].lower()}, {what}")
        for name, each in calls.items()
        for what, call in each.items()
    ]


@pytest.mark.parametrize(("name", "call"), cases())
def test_a_bad_call_has_scikit_learns_words(name: str, call: Call) -> None:
    theirs, ours = outcome(neural_network, name, call), outcome(gpu_mlp, name, call)
    assert ours == theirs
    assert theirs != Outcome(None, [])


def test_a_bad_call_is_told_from_another() -> None:
    """The control."""
    few, many = BOTH["too few features to predict"], BOTH["too many features to predict"]
    theirs = outcome(neural_network, "MLPRegressor", few)
    assert theirs != outcome(gpu_mlp, "MLPRegressor", many)
    assert theirs != outcome(gpu_mlp, "MLPClassifier", few)


def test_an_interruption_leaves_a_model() -> None:
    """As it was after the last whole epoch."""
    estimators = [
        package.MLPClassifier(**QUICK | {"random_state": Interrupts(0), "max_iter": 9})
        for package in (neural_network, gpu_mlp)
    ]
    for estimator in estimators:
        with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
            estimator.fit(X, LABELS)
    theirs, ours = estimators
    assert (ours.n_iter_, len(ours.loss_curve_)) == (theirs.n_iter_, len(theirs.loss_curve_)) == (1, 1)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-10)
