"""What `verbose` prints is scikit-learn's, word for word, and `history_` says why a fit ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import neural_network

import gpu_mlp
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
TARGETS = {
    "MLPClassifier": np.digitize(X[:, 0], [-0.4, 0.4]),
    "MLPRegressor": X[:, 0] + 0.1 * RNG.normal(size=60),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "all epochs": {"max_iter": 4},
    "loss": {"tol": 0.05, "n_iter_no_change": 2},
    "score": {"tol": 0.05, "n_iter_no_change": 2, "early_stopping": True, "validation_fraction": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 1},
    "adaptive score": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "early_stopping": True,
        "n_iter_no_change": 1,
        "tol": 0.02,
    },
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 5},
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("kind", SETTINGS)
def test_it_prints_what_scikit_learn_prints(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    quick: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 60, "random_state": 0, "verbose": True}
    printed = []
    for package in (neural_network, gpu_mlp):
        getattr(package, name)(**quick | {"learning_rate_init": 0.01} | SETTINGS[kind]).fit(X, TARGETS[name])
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
    assert printed[0].startswith("Iteration 1, loss = ")
    if kind not in ("all epochs", "invscaling"):
        assert "Stopping." in printed[0]


class Stops(Callback):
    """After the second epoch, by a word or by the keyboard."""

    def __init__(self, word: str = "") -> None:
        self.word = word

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        if epoch.epoch == 2 and self.word:
            run.stop(self.word)
        elif epoch.epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:Training interrupted by user")
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_iter": 4}, "all epochs done"),
        ({"callbacks": [Stops("enough")]}, "enough"),
        ({"callbacks": [Stops()]}, "interrupted"),
        (
            {"tol": 0.5, "n_iter_no_change": 2},
            "Training loss did not improve more than tol=0.500000 for 2 consecutive epochs. Stopping.",
        ),
    ],
    ids=["all", "callback", "keyboard", "loss"],
)
def test_the_history_says_why_it_ended(settings: dict[str, Any], reason: str) -> None:
    estimator = gpu_mlp.MLPRegressor("squared_error", (4,), random_state=0, device="cpu", **settings)
    estimator.fit(X, TARGETS["MLPRegressor"])
    assert estimator.history_.stopped == reason
    assert len(estimator.history_) == estimator.n_iter_
