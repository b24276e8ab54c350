"""Class weights, callbacks, dropout and precision: what they do to a fit, and that they do nothing else."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.utils import compute_class_weight, compute_sample_weight

import gpu_mlp
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
CLASSES = np.digitize(X[:, 0], [0.5, 1.0])
TEXT = np.array(["yew", "ash", "oak"])[CLASSES]
LABELS = (X[:, :3] > [0.0, 0.7, -0.7]).astype(int)
WEIGHTS = RNG.random(120) + 0.1


def classifier(**settings: Any) -> gpu_mlp.MLPClassifier:
    quick: dict[str, Any] = {"hidden_layer_sizes": (6, 5), "max_iter": 8, "random_state": 0, "batch_size": 32}
    return gpu_mlp.MLPClassifier(**quick | {"device": "cpu"} | settings)


def same(a: Any, b: Any) -> bool:
    """Whether two models have the same bits."""
    pairs = zip((*a.coefs_, *a.intercepts_), (*b.coefs_, *b.intercepts_), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["alone", "with sample weights"])
@pytest.mark.parametrize(
    ("class_weight", "y"),
    [
        ("balanced", CLASSES),
        ("balanced", TEXT),
        ("balanced", CLASSES > 0),
        ("balanced", LABELS),
        ({0: 1.0, 1: 3.0, 2: 0.5}, CLASSES),
        ({"yew": 2.0, "oak": 3.0, "ash": 0.0}, TEXT),
        ({0: 1.0, 1: 5.0}, CLASSES.clip(0, 1)),
        ([{0: 1.0, 1: 5.0}, {0: 2.0, 1: 0.5}, {0: 1.0, 1: 1.0}], LABELS),
    ],
    ids=["balanced", "text", "binary", "labels", "dict", "dict of text", "dict of two", "list of labels"],
)
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_class_weights_are_sample_weights(
    class_weight: Any, y: Any, sample_weight: Any, settings: dict[str, Any]
) -> None:
    rows = compute_sample_weight(class_weight, y) * (1.0 if sample_weight is None else sample_weight)
    weighted = classifier(class_weight=class_weight, **settings).fit(X, y, sample_weight)
    assert same(weighted, classifier(**settings).fit(X, y, rows))
    assert not same(weighted, classifier(**settings).fit(X, y, sample_weight))


def test_a_part_of_the_table_need_not_have_every_class() -> None:
    rows = np.where(CLASSES == 2, 4.0, 1.0)
    weighted, by_rows = classifier(class_weight={2: 4.0}), classifier()
    for part in (CLASSES != 2, CLASSES != 1, CLASSES >= 0):
        weighted.partial_fit(X[part], CLASSES[part], classes=[0, 1, 2])
        by_rows.partial_fit(X[part], CLASSES[part], rows[part], classes=[0, 1, 2])
    assert same(weighted, by_rows)
    found = compute_class_weight("balanced", classes=np.unique(TEXT), y=TEXT)
    balanced = dict(zip(np.unique(TEXT).tolist(), found, strict=True))
    assert same(
        classifier(class_weight=balanced, max_iter=1).fit(X, TEXT),
        classifier(class_weight=balanced).partial_fit(X, TEXT, classes=np.unique(TEXT)),
    )


class Listener(Callback):
    """Writes down what it is told; stops after some epochs, or fails."""

    def __init__(self, stop_after: int | None = None, fail_after: int | None = None) -> None:
        self.told: list[str] = []
        self.epochs: list[Epoch] = []
        self.rows_done: list[int] = []
        self.stop_after, self.fail_after = stop_after, fail_after
        self.run: RunView | None = None

    def on_train_begin(self, run: RunView) -> None:
        self.told.append("begin")
        self.run = run
        assert len(run.history) == 0

    def on_progress(self, run: RunView, rows_done: int) -> None:
        self.rows_done.append(rows_done)

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        self.told.append("epoch")
        self.epochs.append(epoch)
        assert run.history[-1] is epoch
        if len(self.epochs) == self.stop_after:
            run.stop("enough")
        if len(self.epochs) == self.fail_after:
            raise RuntimeError("the disk is full")

    def on_train_end(self, run: RunView) -> None:
        self.told.append("end")
        assert run is self.run


def test_callbacks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_mlp.learning.epochs.SECONDS_BETWEEN_REPORTS", 0.0)
    first, second = Listener(), Listener()
    estimator = classifier(callbacks=[first, second]).fit(X, CLASSES, X_val=X[:30], y_val=CLASSES[:30])
    assert first.told == second.told == ["begin", *["epoch"] * 8, "end"]
    assert first.run is not None
    assert (first.run.total_epochs, first.run.rows) == (8, 120)
    assert first.rows_done[-1] == 120
    assert set(first.rows_done) <= {32, 64, 96, 120}
    assert [epoch.epoch for epoch in first.epochs] == list(range(1, 9))
    assert [epoch.step for epoch in first.epochs] == [4 * number for number in range(1, 9)]
    assert [epoch.loss for epoch in first.epochs] == estimator.loss_curve_ == estimator.history_.losses
    assert [epoch.validation_metric for epoch in first.epochs] == estimator.validation_scores_
    assert all(epoch.seconds > 0 and epoch.rows_per_second > 0 for epoch in first.epochs)
    assert same(estimator, classifier().fit(X, CLASSES))


def test_callbacks_may_stop_and_fail() -> None:
    listener = Listener(stop_after=3)
    estimator = classifier(callbacks=[listener]).fit(X, CLASSES)
    assert (estimator.n_iter_, estimator.history_.stopped) == (3, "enough")
    assert listener.told == ["begin", *["epoch"] * 3, "end"]
    assert same(estimator, classifier(max_iter=3).fit(X, CLASSES))
    failing, other = Listener(fail_after=2), Listener()
    with pytest.raises(RuntimeError, match="the disk is full"):
        classifier(callbacks=[other, failing]).fit(X, CLASSES)
    assert other.told == failing.told == ["begin", "epoch", "epoch", "end"]


def test_callbacks_hear_of_partial_fit() -> None:
    listener = Listener()
    listener.on_train_begin = lambda run: listener.told.append("begin")  # type: ignore[method-assign]
    listener.on_train_end = lambda run: listener.told.append("end")  # type: ignore[method-assign]
    estimator = classifier(callbacks=(listener,))
    for _ in range(2):
        estimator.partial_fit(X, CLASSES, classes=[0, 1, 2])
    assert listener.told == ["begin", "epoch", "end"] * 2
    assert [epoch.epoch for epoch in estimator.history_] == [1, 2]


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    estimator = classifier(progress=True).fit(X, CLASSES)
    out, error = capsys.readouterr()
    assert out == ""
    assert "epoch 1/8: loss" in error
    assert same(estimator, classifier().fit(X, CLASSES))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_dropout_is_drawn_from_the_random_state(solver: str) -> None:
    dropped = classifier(dropout=0.4, solver=solver).fit(X, CLASSES)
    assert same(dropped, classifier(dropout=0.4, solver=solver).fit(X, CLASSES))
    for other in ({"dropout": 0.0}, {"dropout": 0.3}, {"dropout": 0.4, "random_state": 1}):
        assert not same(dropped, classifier(solver=solver, **other).fit(X, CLASSES))
    # From the same coefficients on, without shuffles, nothing else is drawn.
    more = [
        copy.deepcopy(dropped).set_params(warm_start=True, shuffle=False, random_state=seed)
        for seed in (1, 1, 2)
    ]
    for each in more:
        each.fit(X, CLASSES)
    assert same(more[0], more[1])
    assert not same(more[0], more[2])
    np.testing.assert_array_equal(dropped.predict_proba(X), dropped.predict_proba(X))
    # Predictions are those of the whole network.
    h = X
    for omega, beta in zip(dropped.coefs_[:-1], dropped.intercepts_[:-1], strict=True):
        h = np.maximum(h @ omega + beta, 0.0)
    f = h @ dropped.coefs_[-1] + dropped.intercepts_[-1]
    expected = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(dropped.predict_proba(X), expected, rtol=1e-10)


def test_dropout_keeps_a_large_network_from_learning_noise_by_heart() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(100, 20)), rng.integers(0, 2, 100)
    settings: dict[str, Any] = {"hidden_layer_sizes": (100,), "max_iter": 40, "learning_rate_init": 0.01}
    plain, dropped = (classifier(dropout=rate, **settings).fit(x, y).loss_ for rate in (0.0, 0.6))
    assert plain < 0.1 < 0.15 < dropped


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_a_precision_rounds_what_float32_multiplies(precision: str) -> None:
    x = X.astype(np.float32)
    exact, rounded = (classifier(precision=each).fit(x, CLASSES) for each in (None, precision))
    assert not same(exact, rounded)
    assert {each.dtype for each in rounded.coefs_} == {np.dtype(np.float32)}
    np.testing.assert_allclose(rounded.coefs_[0], exact.coefs_[0], atol=0.02)
    np.testing.assert_allclose(rounded.predict_proba(x), exact.predict_proba(x), atol=0.03)
    assert same(exact, classifier(precision="float32").fit(x, CLASSES))
    assert same(rounded, classifier(precision=precision).fit(x, CLASSES))
    # It rounds what is predicted as well.
    plain = rounded.predict_proba(x)
    assert not np.array_equal(rounded.set_params(precision=None).predict_proba(x), plain)


def test_float64_has_no_other_precision_than_its_own() -> None:
    assert same(classifier(precision="float64").fit(X, CLASSES), classifier().fit(X, CLASSES))
