"""Every schedule beside torch.optim.lr_scheduler, and the warm-up by its properties."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from gpu_mlp.config import SCHEDULE_NAMES, TrainingConfig
from gpu_mlp.learning.schedules import (
    Constant,
    Cosine,
    ExponentialDecay,
    LinearWarmup,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    schedule_from,
)


def torch_optimizer(rate: float = 1.0) -> torch.optim.Optimizer:
    """Something to schedule."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def torch_rates(optimizer: torch.optim.Optimizer, scheduler: Any, count: int) -> list[float]:
    """The rate in each of `count` intervals between calls of `scheduler.step()`."""
    rates = []
    for i in range(count):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if i < count - 1:
            scheduler.step()
    return rates


def factors(schedule: Schedule, steps_per_epoch: int, total: int) -> list[float]:
    """The factor of every step."""
    return [schedule.factor(step, steps_per_epoch, total) for step in range(total)]


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7])
@pytest.mark.parametrize(("epochs", "gamma"), [(1, 0.5), (3, 0.1), (10, 0.9)])
def test_step_decay_is_torchs_step_lr(steps_per_epoch: int, epochs: int, gamma: float) -> None:
    optimizer = torch_optimizer()
    expected = torch_rates(optimizer, lr_scheduler.StepLR(optimizer, epochs, gamma), 25)
    mine = factors(StepDecay(epochs, gamma), steps_per_epoch, 25 * steps_per_epoch)
    np.testing.assert_allclose(mine, np.repeat(expected, steps_per_epoch), rtol=1e-12)


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7])
@pytest.mark.parametrize("gamma", [0.5, 0.99, 1.0])
def test_exponential_decay_is_torchs_exponential_lr(steps_per_epoch: int, gamma: float) -> None:
    optimizer = torch_optimizer()
    expected = torch_rates(optimizer, lr_scheduler.ExponentialLR(optimizer, gamma), 25)
    mine = factors(ExponentialDecay(gamma), steps_per_epoch, 25 * steps_per_epoch)
    np.testing.assert_allclose(mine, np.repeat(expected, steps_per_epoch), rtol=1e-12)


@pytest.mark.parametrize("total", [1, 2, 3, 31, 100])
def test_cosine_is_torchs_cosine_annealing_lr(total: int) -> None:
    optimizer = torch_optimizer()
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    expected = torch_rates(optimizer, scheduler, total)
    np.testing.assert_allclose(factors(Cosine(), 7, total), expected, rtol=1e-9, atol=1e-12)


def test_cosine_begins_at_one_and_reaches_zero_with_the_end() -> None:
    mine = factors(Cosine(), 1, 1000)
    assert mine[0] == 1.0
    assert mine[500] == pytest.approx(0.5)
    assert 0 < mine[-1] < 1e-5
    assert Cosine().factor(1000, 1, 1000) == pytest.approx(0.0, abs=1e-16)
    assert Cosine().factor(2000, 1, 1000) == pytest.approx(0.0, abs=1e-16)
    assert all(later < earlier for earlier, later in pairwise(mine))


@pytest.mark.parametrize("total", [2, 3, 4, 7, 31, 100, 1009])
@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle_is_torchs_one_cycle_lr(total: int, rise: float) -> None:
    if rise * total == 1.0:
        pytest.skip("torch divides by zero where the rise is exactly one step")
    optimizer = torch_optimizer()
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=rise, cycle_momentum=False
    )
    expected = torch_rates(optimizer, scheduler, total)
    np.testing.assert_allclose(factors(OneCycle(rise=rise), 7, total), expected, rtol=1e-12)


def test_one_cycle_rises_to_one_and_ends_at_almost_nothing() -> None:
    mine = factors(OneCycle(), 1, 1001)
    assert mine[0] == pytest.approx(1 / 25)
    assert max(mine) == pytest.approx(1.0, rel=1e-4)
    assert int(np.argmax(mine)) in (299, 300)
    assert mine[-1] == pytest.approx(1 / 25e4)


@pytest.mark.parametrize("total", [1, 2, 3, 10])
def test_one_cycle_of_a_short_run_is_finite(total: int) -> None:
    """Also where the rise is exactly one step: 10 steps and a rise of 0.1."""
    for rise in (0.0, 0.1, 0.3, 1.0):
        assert all(0 < factor <= 1 for factor in factors(OneCycle(rise=rise), 1, total))


@pytest.mark.parametrize(("epochs", "gamma"), [(0, 0.5), (1, 0.1), (3, 0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_plateau_is_torchs_reduce_lr_on_plateau(epochs: int, gamma: float, seed: int) -> None:
    """On losses that fall, stall, jump up and become NaN; torch's smallest change is switched off."""
    rng = np.random.default_rng(seed)
    losses = np.abs(np.cumsum(rng.normal(-0.05, 0.3, 60)) + 3).round(2)
    losses[20:25] = losses[19]
    losses[40] = np.nan
    optimizer = torch_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=gamma, patience=epochs, eps=0.0)
    mine = ReduceOnPlateau(epochs, gamma)
    for loss in losses:
        assert mine.factor(0, 1, 1) == pytest.approx(float(optimizer.param_groups[0]["lr"]), rel=1e-12)
        scheduler.step(float(loss))
        mine.observe(float(loss))
    assert mine.current < 1.0


def test_plateau_calls_only_more_than_its_threshold_an_improvement() -> None:
    schedule = ReduceOnPlateau(epochs=1, gamma=0.5, threshold=0.01)
    for loss in (1.0, 0.995, 0.992):
        schedule.observe(loss)
    assert schedule.current == 0.5


@pytest.mark.parametrize("epochs", [0.1, 0.5, 1.0, 2.3, 5.0])
@pytest.mark.parametrize("steps_per_epoch", [1, 7, 100])
def test_warm_up_rises_linearly_to_the_schedules_start(epochs: float, steps_per_epoch: int) -> None:
    total = 10 * steps_per_epoch
    mine = factors(LinearWarmup(epochs, Constant()), steps_per_epoch, total)
    steps = round(epochs * steps_per_epoch)
    assert all(0 < factor < 1 for factor in mine[:steps])
    assert mine[steps:] == [1.0] * (total - steps)
    differences = np.diff([0.0, *mine[: steps + 1]])
    np.testing.assert_allclose(differences, differences[0], rtol=1e-9)


@pytest.mark.parametrize(
    "then", [Cosine(), OneCycle(), StepDecay(2, 0.5), ExponentialDecay(0.5), Constant()], ids=repr
)
def test_after_the_warm_up_the_schedule_runs_its_whole_course(then: Schedule) -> None:
    """In what remains of the run, as if that were all of it."""
    mine = factors(LinearWarmup(2.0, then), 5, 50)
    assert mine[10:] == factors(then, 5, 40)
    assert mine[9] < mine[10]


def test_a_warm_up_longer_than_the_run_still_rises() -> None:
    mine = factors(LinearWarmup(100.0, Cosine()), 5, 20)
    assert all(later > earlier > 0 for earlier, later in pairwise(mine))
    assert mine[-1] < 0.1


def test_a_warm_up_passes_the_loss_on() -> None:
    plateau = ReduceOnPlateau(epochs=0, gamma=0.5)
    schedule = LinearWarmup(1.0, plateau)
    schedule.observe(1.0)
    schedule.observe(1.0)
    assert plateau.current == 0.5
    assert schedule.factor(5, 5, 50) == 0.5


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Constant()),
        ({"schedule": "step", "schedule_epochs": 3, "schedule_factor": 0.4}, StepDecay(3, 0.4)),
        ({"schedule": "exponential", "schedule_factor": 0.9}, ExponentialDecay(0.9)),
        ({"schedule": "cosine"}, Cosine()),
        ({"schedule": "one_cycle"}, OneCycle()),
        ({"schedule": "plateau", "schedule_epochs": 4, "schedule_factor": 0.2}, ReduceOnPlateau(4, 0.2)),
        ({"schedule": "cosine", "warmup_epochs": 1.5}, LinearWarmup(1.5, Cosine())),
    ],
)
def test_a_config_names_the_schedule(settings: dict[str, Any], expected: Schedule) -> None:
    assert schedule_from(TrainingConfig(**settings)) == expected


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_every_schedule_starts_positive_and_never_exceeds_the_rate(name: str) -> None:
    schedule = schedule_from(TrainingConfig(schedule=name))
    mine = factors(schedule, 4, 40)
    assert all(0 < factor <= 1 and math.isfinite(factor) for factor in mine)
