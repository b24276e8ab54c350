"""How a case is timed: everybody in turn, round after round, and what may be concluded from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.contestants.base import Work

__all__ = ["Method", "Ratio", "interval", "ratio_of", "resampled_medians", "timed"]

Seconds = NDArray[np.float64]

BOOTSTRAP_SAMPLES = 2000
# Blocks before the first round, until two that follow one another differ by less than this.
MOST_WARM_UPS, STABLE = 8, 0.05
# After a pause the threads of whoever was before no longer wait busily for work; a few runs then do not count.
PAUSE, UNCOUNTED = 0.02, 2


@dataclass(frozen=True)
class Method:
    """rounds: of everybody in turn. seconds: of one block of runs, of which the mean is one measurement."""

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Ratio:
    """The median over the rounds of their time divided by ours, with a 95 % bootstrap interval."""

    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Of gpu_mlp: "faster" or "slower" where the interval excludes 1, else "even"."""
        return "faster" if self.low > 1.0 else "slower" if self.high < 1.0 else "even"


def timed(
    works: Mapping[str, Work], method: Method, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Seconds]:
    """The seconds of one run in every round (rounds,), for everybody; whoever is first changes from round to round."""
    counts = {name: _warm(work, method.seconds, clock) for name, work in works.items()}
    times = {name: np.zeros(method.rounds) for name in works}
    names = list(works)
    for number in range(method.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name][number] = _block(works[name], counts[name], clock)
    return times


def _warm(work: Work, seconds: float, clock: Callable[[], float]) -> int:
    """Run until the time is stable; how many runs make a block."""
    last = max(_block(work, 1, clock), 1e-9)
    count = 1
    for _ in range(MOST_WARM_UPS):
        count = max(1, round(seconds / last))
        now = max(_block(work, count, clock), 1e-9)
        if abs(now - last) < STABLE * now:
            break
        last = now
    return count


def _block(work: Work, count: int, clock: Callable[[], float]) -> float:
    """The mean of so many runs."""
    time.sleep(PAUSE)
    work.run(min(UNCOUNTED, count))
    started = clock()
    work.run(count)
    return (clock() - started) / count


def ratio_of(theirs: Seconds, ours: Seconds) -> Ratio:
    """Of the rounds, pair by pair."""
    ratios = theirs / ours
    return Ratio(float(np.median(ratios)), *interval(resampled_medians(ratios, np.random.default_rng(0))))


def resampled_medians(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Of as many values drawn from them with replacement, often: the bootstrap."""
    medians: NDArray[np.float64] = np.median(rng.choice(values, (BOOTSTRAP_SAMPLES, len(values))), axis=1)
    return medians


def interval(samples: NDArray[np.float64]) -> tuple[float, float]:
    """What holds 95 % of them, as many outside on either side."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)
