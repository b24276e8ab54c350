"""How a case is timed: everybody in turn, round after round, and what may be concluded from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.contestants.base import Work
from gpu_mlp.telemetry.measures import MEASURES, Meter, all_words, summarised

__all__ = [
    "Method",
    "Ratio",
    "Seconds",
    "Times",
    "interval",
    "ratio_of",
    "resampled_medians",
    "seconds_of_harness",
    "timed",
]

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


@dataclass
class Times:
    """seconds: of one run in every round (rounds,). measures: of one run, what the meters told in each round."""

    seconds: Seconds
    measures: list[dict[str, float | str]] = field(default_factory=list)

    def measured(self) -> dict[str, float | str]:
        """Over all rounds: the median of a number, and of words all that occurred."""
        found: dict[str, float | str] = {}
        for name in MEASURES:
            values = [each[name] for each in self.measures if name in each]
            numbers = [value for value in values if not isinstance(value, str)]
            if numbers:
                found[name] = float(np.median(numbers))
            elif values:
                found[name] = all_words(values)
        return found


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
    works: Mapping[str, Work],
    method: Method,
    clock: Callable[[], float] = time.perf_counter,
    meters: Sequence[Meter] = (),
) -> dict[str, Times]:
    """Everybody's times in every round; whoever is first changes from round to round."""
    counts = {name: _warm(work, method.seconds, clock) for name, work in works.items()}
    times = {name: Times(np.zeros(method.rounds)) for name in works}
    names = list(works)
    for number in range(method.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds, measures = _metered(works[name], counts[name], clock, meters)
            times[name].seconds[number] = seconds
            times[name].measures.append(measures)
    return times


def _metered(
    work: Work, count: int, clock: Callable[[], float], meters: Sequence[Meter]
) -> tuple[float, dict[str, float | str]]:
    """The mean of so many runs, and what the meters say of one. They are read before and after, and not between."""
    readings = []

    def read() -> None:
        readings.append({name: value for meter in meters for name, value in meter.read().items()})

    seconds = _block(work, count, clock, read)
    found = summarised(readings)
    return seconds, {
        name: value / count if MEASURES[name] == "grown" and not isinstance(value, str) else value
        for name, value in found.items()
    }


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


def _block(
    work: Work, count: int, clock: Callable[[], float], read: Callable[[], None] = lambda: None
) -> float:
    """The mean of so many runs, by the work's own device or the clock; read is called before and after."""
    time.sleep(PAUSE)
    if count > 1:
        work.run(min(UNCOUNTED, count))
    read()
    started = clock()
    told = work.run(count)
    seconds = clock() - started if told is None else told
    read()
    return seconds / count


class _Nothing:
    """A contestant's loop around a call that does nothing."""

    def run(self, count: int) -> float | None:
        def steps() -> None:
            for _ in range(count):
                self._last = self._step(count, count)  # as who keeps the last loss

        steps()
        return None

    def _step(self, x: object, y: object) -> object:
        """What a step is given."""
        return x

    def result(self) -> NDArray[np.float64]:
        return np.zeros(())


def seconds_of_harness(method: Method) -> float:
    """What a run costs that does nothing, with the call of it."""
    return float(np.median(timed({"nothing": _Nothing()}, method)["nothing"].seconds))


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
