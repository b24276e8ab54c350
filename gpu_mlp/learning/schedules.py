"""Learning rates over a run: each schedule is a factor of the starting rate, with torch.optim.lr_scheduler's formulas.

`step` counts from 0, the step about to be done; an epoch has `steps_per_epoch` of them and the run `total_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gpu_mlp.config import TrainingConfig

__all__ = [
    "Constant",
    "Cosine",
    "ExponentialDecay",
    "LinearWarmup",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "schedule_from",
]


class Schedule:
    """A factor of the starting learning rate for every step."""

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """What the starting rate is multiplied with at `step`."""
        raise NotImplementedError

    def observe(self, monitored: float) -> None:
        """Take note of the monitored loss at the end of an epoch; most schedules need none."""

    def state(self) -> dict[str, float]:
        """What was noted so far."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from what another process noted."""


@dataclass
class Constant(Schedule):
    """factor = 1"""

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """1"""
        return 1.0


@dataclass
class StepDecay(Schedule):
    """factor = gamma^floor(epoch / epochs), torch's StepLR"""

    epochs: int = 10
    gamma: float = 0.1

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """gamma^floor(epoch / epochs)"""
        return self.gamma ** (step // steps_per_epoch // self.epochs)


@dataclass
class ExponentialDecay(Schedule):
    """factor = gamma^epoch, torch's ExponentialLR"""

    gamma: float = 0.9

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """gamma^epoch"""
        return self.gamma ** (step // steps_per_epoch)


@dataclass
class Cosine(Schedule):
    """factor = (1 + cos(pi step / total)) / 2, a half wave from 1 to 0.

    Loshchilov and Hutter, 2017; torch's CosineAnnealingLR.
    """

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """(1 + cos(pi step / total)) / 2"""
        return 0.5 * (1.0 + math.cos(math.pi * min(step / total_steps, 1.0)))


@dataclass
class OneCycle(Schedule):
    """From 1 / divide_start up to 1 in the first `rise` of the run, then down to 1 / (divide_start divide_end).

    On half cosines; the starting rate is the peak. Smith and Topin, 2018; torch's OneCycleLR without its
    cycle of the momentum.
    """

    rise: float = 0.3
    divide_start: float = 25.0
    divide_end: float = 1e4

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """A half cosine between the ends of the phase that `step` is in."""
        start, end = 1.0 / self.divide_start, 1.0 / (self.divide_start * self.divide_end)
        peak = self.rise * total_steps - 1.0
        last = total_steps - 1.0
        if step <= peak:
            return _half_cosine(start, 1.0, step / peak if peak > 0 else 1.0)
        return _half_cosine(1.0, end, min((step - peak) / max(last - peak, 1e-12), 1.0))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * share))


@dataclass
class ReduceOnPlateau(Schedule):
    """factor <- gamma factor after more than `epochs` epochs in which the monitored loss fell by less than `threshold`.

    torch's ReduceLROnPlateau (mode "min", relative threshold, no cooldown).
    """

    epochs: int = 10
    gamma: float = 0.1
    threshold: float = 1e-4
    best: float = math.inf
    waited: int = 0
    current: float = 1.0

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """The factor as reduced so far."""
        return self.current

    def observe(self, monitored: float) -> None:
        """Count an epoch without improvement, and reduce after `epochs` of them."""
        if monitored < self.best * (1.0 - self.threshold):
            self.best, self.waited = monitored, 0
            return
        self.waited += 1
        if self.waited > self.epochs:
            self.current *= self.gamma
            self.waited = 0

    def state(self) -> dict[str, float]:
        """The best loss, the epochs since, and the factor."""
        return {"best": self.best, "waited": self.waited, "current": self.current}

    def restore(self, state: Mapping[str, float]) -> None:
        """As noted by another process."""
        self.best, self.waited, self.current = state["best"], int(state["waited"]), state["current"]


@dataclass
class LinearWarmup(Schedule):
    """factor = (step + 1) / (warm-up steps + 1) of what follows, over the first `epochs` epochs (Goyal et al., 2017)"""

    epochs: float
    then: Schedule

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """A linear rise, then `then` on the steps that remain."""
        steps = round(self.epochs * steps_per_epoch)
        if step < steps:
            return (
                (step + 1) / (steps + 1) * self.then.factor(0, steps_per_epoch, max(total_steps - steps, 1))
            )
        return self.then.factor(step - steps, steps_per_epoch, max(total_steps - steps, 1))

    def observe(self, monitored: float) -> None:
        """Pass it on."""
        self.then.observe(monitored)

    def state(self) -> dict[str, float]:
        """Of what follows."""
        return self.then.state()

    def restore(self, state: Mapping[str, float]) -> None:
        """Pass it on."""
        self.then.restore(state)


def schedule_from(config: TrainingConfig) -> Schedule:
    """The schedule a TrainingConfig names, after its warm-up if it has one."""
    schedule: Schedule
    match config.schedule:
        case "step":
            schedule = StepDecay(config.schedule_epochs, config.schedule_factor)
        case "exponential":
            schedule = ExponentialDecay(config.schedule_factor)
        case "cosine":
            schedule = Cosine()
        case "one_cycle":
            schedule = OneCycle()
        case "plateau":
            schedule = ReduceOnPlateau(config.schedule_epochs, config.schedule_factor)
        case _:
            schedule = Constant()
    return LinearWarmup(config.warmup_epochs, schedule) if config.warmup_epochs > 0.0 else schedule
