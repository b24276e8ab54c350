"""Losses, optimizers, schedules and clipping beyond scikit-learn's: PyTorch's coefficients after some steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance, mean_squared_error

import gpu_mlp
from gpu_mlp.backends.base import ACTIVATION_NAMES
from gpu_mlp.config import OPTIMIZER_NAMES, SCHEDULE_NAMES
from tests.estimators.torch_training import check_against_torch
from tests.network.torch_networks import quantile_loss

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4))
VALUES = X[:, :2] @ np.array([[2.0, 1.0], [-1.0, 3.0]]) + RNG.normal(size=(50, 2))
COUNTS = RNG.poisson(np.exp(0.5 * X[:, :2])).astype(float)
CLASSES = np.digitize(X[:, 0], [-0.4, 0.4])
LABELS = (X[:, :3] > 0).astype(int)


def regressor(**settings: Any) -> gpu_mlp.MLPRegressor:
    quick: dict[str, Any] = {
        "hidden_layer_sizes": (6, 5),
        "activation": "tanh",
        "solver": "sgd",
        "momentum": 0.0,
    }
    return gpu_mlp.MLPRegressor(**quick | {"max_iter": 8, "learning_rate_init": 0.05} | settings)


def classifier(**settings: Any) -> gpu_mlp.MLPClassifier:
    quick: dict[str, Any] = {
        "hidden_layer_sizes": (6, 5),
        "activation": "tanh",
        "solver": "sgd",
        "momentum": 0.0,
    }
    return gpu_mlp.MLPClassifier(**quick | {"max_iter": 8, "learning_rate_init": 0.5} | settings)


def rows_mean(terms: torch.Tensor) -> torch.Tensor:
    """The mean over the rows of the sum over the outputs."""
    return terms.sum(dim=1).mean()


LOSSES: dict[str, tuple[dict[str, Any], Callable[..., torch.Tensor]]] = {
    "absolute_error": ({}, F.l1_loss),
    "huber": ({"huber_delta": 0.7}, partial(F.huber_loss, delta=0.7)),
    "huber of delta 1": ({"loss": "huber"}, F.huber_loss),
    "quantile": ({"quantile": 0.8}, lambda f, y, reduction: quantile_loss(f, y, 0.8)),
    "median": ({"loss": "quantile"}, lambda f, y, reduction: quantile_loss(f, y, 0.5)),
}


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_numbers(name: str, outputs: int) -> None:
    settings, terms = LOSSES[name]
    estimator, y = regressor(**{"loss": name} | settings), VALUES[:, :outputs]
    check_against_torch(estimator, X, _flat(y), y, lambda f, t: rows_mean(terms(f, t, reduction="none")))


def _flat(y: Any) -> Any:
    return y.ravel() if y.shape[1] == 1 else y


@pytest.mark.parametrize("outputs", [1, 2])
def test_squared_error_moves_by_half_the_sum_and_tells_the_mean_over_outputs(outputs: int) -> None:
    """As scikit-learn's."""
    y = VALUES[:, :outputs]

    class HalfOfSum(torch.autograd.Function):
        """Half the mean over rows and outputs, with the gradient of the sum over the outputs."""

        @staticmethod
        def forward(context: Any, f: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            context.save_for_backward(f, t)
            return F.mse_loss(f, t) / 2

        @staticmethod
        def backward(context: Any, factor: torch.Tensor) -> tuple[torch.Tensor, None]:
            f, t = context.saved_tensors
            return factor * (f - t) / len(f), None

    check_against_torch(regressor(), X, _flat(y), y, HalfOfSum.apply)


def test_poisson_is_half_the_deviance() -> None:
    def loss(f: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        constant = torch.special.xlogy(t, t) - t
        return rows_mean(F.poisson_nll_loss(f, t, reduction="none") + constant)

    check_against_torch(regressor(loss="poisson"), X, COUNTS, COUNTS, loss)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile", "poisson"])
def test_losses_are_half_or_all_of_scikit_learns_metrics(loss: str) -> None:
    """`loss_` of L-BFGS is that of the final model."""
    y = COUNTS[:, 0] if loss == "poisson" else VALUES[:, 0]
    weights = RNG.random(50)
    estimator = regressor(loss=loss, solver="lbfgs", alpha=0.0, quantile=0.3, device="cpu", max_iter=30)
    answers = estimator.fit(X, y, sample_weight=weights).predict(X)
    metric, factor = {
        "squared_error": (mean_squared_error, 0.5),
        "absolute_error": (mean_absolute_error, 1.0),
        "quantile": (partial(mean_pinball_loss, alpha=0.3), 1.0),
        "poisson": (mean_poisson_deviance, 0.5),
    }[loss]
    assert estimator.loss_ == pytest.approx(factor * metric(y, answers, sample_weight=weights), rel=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_label_smoothing(smoothing: float) -> None:
    settings: dict[str, Any] = {"label_smoothing": smoothing}
    loss = partial(F.cross_entropy, label_smoothing=smoothing)
    check_against_torch(classifier(**settings), X, CLASSES * 10, CLASSES, loss)
    two = CLASSES // 2

    def of_two(f: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Of classes with the logits 0 and f."""
        return F.cross_entropy(torch.hstack([torch.zeros_like(f), f]), t, label_smoothing=smoothing)

    check_against_torch(classifier(**settings), X, two, two, of_two)

    def of_labels(f: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        pairs = torch.stack([torch.zeros_like(f), f], dim=1)
        return rows_mean(F.cross_entropy(pairs, t, label_smoothing=smoothing, reduction="none"))

    check_against_torch(classifier(**settings), X, LABELS, LABELS, of_labels)


class Lion(torch.optim.Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms", 2023."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    def step(self, closure: Any = None) -> None:
        (group,) = self.param_groups
        for p in group["params"]:
            m = self.state[p].setdefault("m", torch.zeros_like(p))
            p.data -= group["lr"] * torch.sign(0.8 * m + 0.2 * p.grad)
            m.mul_(0.95).add_(0.05 * p.grad)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.7),
    "nesterov": partial(torch.optim.SGD, momentum=0.7, nesterov=True),
    "rmsprop": partial(torch.optim.RMSprop, eps=1e-4),
    "adagrad": partial(torch.optim.Adagrad, eps=1e-4),
    "adam": partial(torch.optim.Adam, betas=(0.8, 0.95), eps=1e-4),
    "adamw": partial(torch.optim.AdamW, betas=(0.8, 0.95), eps=1e-4),
    "lion": Lion,
}
SETTINGS: dict[str, Any] = {"momentum": 0.7, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    check_against_torch(
        classifier(optimizer=name, learning_rate_init=0.02, **SETTINGS),
        X,
        CLASSES,
        CLASSES,
        F.cross_entropy,
        OPTIMIZERS[name],
    )


def test_every_optimizer_is_tried() -> None:
    assert set(OPTIMIZERS) == set(OPTIMIZER_NAMES)


@pytest.mark.parametrize("clip_norm", [0.05, 0.3, 100.0])
def test_clipping(clip_norm: float) -> None:
    estimator = classifier(clip_norm=clip_norm, optimizer="sgd")
    check_against_torch(estimator, X, CLASSES, CLASSES, F.cross_entropy, clip_norm=clip_norm)


@pytest.mark.parametrize("activation", [*ACTIVATION_NAMES, ("sigmoid", "gelu"), ["relu", "tanh"]], ids=str)
def test_activations(activation: Any) -> None:
    check_against_torch(classifier(activation=activation), X, CLASSES, CLASSES, F.cross_entropy)


RATES: dict[str, Callable[[int], float]] = {
    "constant": lambda epoch: 1.0,
    "step": lambda epoch: 0.1 ** (epoch // 10),
    "exponential": lambda epoch: 0.1**epoch,
    "cosine": lambda epoch: (1.0 + math.cos(math.pi * epoch / 14)) / 2.0,
}


@pytest.mark.parametrize("schedule", RATES)
def test_schedules(schedule: str) -> None:
    estimator = classifier(schedule=schedule, optimizer="sgd", max_iter=14)
    check_against_torch(estimator, X, CLASSES, CLASSES, F.cross_entropy, rates=RATES[schedule])
    assert [epoch.learning_rate for epoch in estimator.history_] == pytest.approx(
        [0.5 * RATES[schedule](epoch) for epoch in range(14)]
    )


def test_one_cycle_is_torchs() -> None:
    estimator = classifier(schedule="one_cycle", optimizer="sgd", max_iter=14)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=14)
    rates = []
    for _ in range(14):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    check_against_torch(estimator, X, CLASSES, CLASSES, F.cross_entropy, rates=lambda epoch: rates[epoch])


def test_plateau_lowers_the_rate_when_nothing_gets_better() -> None:
    settings: dict[str, Any] = {"max_iter": 40, "batch_size": 50, "random_state": 0, "device": "cpu"}
    still = regressor(schedule="plateau", learning_rate_init=1e-12, tol=0.0, n_iter_no_change=99, **settings)
    rates = [epoch.learning_rate for epoch in still.fit(X, VALUES, X_val=X, y_val=VALUES).history_]
    assert rates[0] == 1e-12
    assert rates[-1] < 1e-13
    assert all(after <= before for before, after in pairwise(rates))
    assert {"plateau", "one_cycle"} == set(SCHEDULE_NAMES) - set(RATES)
