"""Rounds in turn and the ratio that comes of them, on a clock that tells what it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_mlp.benchmark import timing
from gpu_mlp.benchmark.timing import Method, Ratio, ratio_of, timed


class Clock:
    """Advances by what is worked."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, ""

    def __call__(self) -> float:
        return self.now


class Steady:
    """A run takes so many seconds, the first ones longer."""

    def __init__(self, clock: Clock, name: str, seconds: float, slow: int = 0) -> None:
        self.clock, self.name, self.seconds, self.slow, self.runs = clock, name, seconds, slow, 0

    def run(self, count: int) -> None:
        self.clock.order += self.name
        for _ in range(count):
            self.runs += 1
            self.clock.now += self.seconds * (10.0 if self.runs <= self.slow else 1.0)

    def result(self) -> Any:
        return np.zeros(())


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)


def test_the_time_of_a_run_is_measured_in_every_round() -> None:
    clock = Clock()
    works = {"a": Steady(clock, "a", 0.01), "b": Steady(clock, "b", 0.03)}
    times = timed(works, Method(5, 0.5), clock)
    assert times["a"].seconds == pytest.approx([0.01] * 5)
    assert times["b"].seconds == pytest.approx([0.03] * 5)
    assert ratio_of(times["b"].seconds, times["a"].seconds).ratio == pytest.approx(3.0)


def test_slow_first_runs_do_not_count() -> None:
    clock = Clock()
    times = timed({"a": Steady(clock, "a", 0.01, slow=4)}, Method(5, 0.5), clock)
    assert times["a"].seconds == pytest.approx([0.01] * 5)


def test_everybody_is_first_in_turn() -> None:
    clock = Clock()
    works = {name: Steady(clock, name, 1.0) for name in "abc"}
    timed(works, Method(3, 4.0), clock)
    rounds = clock.order[-18:]  # each block runs uncounted and counted
    assert rounds == "aabbccbbccaaccaabb"


def test_a_run_that_is_longer_than_a_block_is_not_run_twice() -> None:
    clock = Clock()
    timed({"a": Steady(clock, "a", 9.0)}, Method(3, 1.0), clock)
    assert clock.order == "a" * (2 + 3)  # two that agree, and the rounds


class Counting:
    """A meter of what grows with the clock, of memory, and of words."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.reads = clock, 0

    def read(self) -> Any:
        self.reads += 1
        words = {"gpu_throttled": "power cap" if self.reads == 2 else ""}
        return {"cpu_seconds": 2.0 * self.clock.now, "resident_bytes": 1e6 * self.reads, **words}

    def close(self) -> None:
        pass


def test_what_the_meters_tell_is_of_one_run() -> None:
    """cpu_seconds of two processors; memory is the largest of a round, of which the median is taken."""
    clock = Clock()
    meter = Counting(clock)
    times = timed({"a": Steady(clock, "a", 0.01)}, Method(3, 0.2), clock, meters=[meter])
    assert meter.reads == 6
    found = times["a"].measured()
    assert found["cpu_seconds"] == pytest.approx(0.02)
    assert found["resident_bytes"] == 4e6
    assert found["gpu_throttled"] == "power cap"


def test_a_block_is_about_as_long_as_asked() -> None:
    clock = Clock()
    work = Steady(clock, "a", 0.01)
    timed({"a": work}, Method(3, 0.2), clock)
    before = work.runs
    timed({"a": work}, Method(4, 0.2), clock)
    assert work.runs - before < 6 * (20 + 2) + 10


def test_the_interval_holds_the_median_and_narrows_with_less_noise() -> None:
    rng = np.random.default_rng(0)
    ours = np.full(15, 1.0)
    wide, narrow = (ratio_of(2.0 * np.exp(rng.normal(0, noise, 15)), ours) for noise in (0.2, 0.02))
    for found in (wide, narrow):
        assert found.low <= found.ratio <= found.high
    assert narrow.high - narrow.low < wide.high - wide.low


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(1.2, 1.1, 1.3), "faster"),
        (Ratio(0.8, 0.7, 0.9), "slower"),
        (Ratio(1.1, 0.9, 1.3), "even"),
        (Ratio(1.0, 1.0, 1.0), "even"),
    ],
)
def test_a_verdict_needs_an_interval_without_1(ratio: Ratio, verdict: str) -> None:
    assert ratio.verdict == verdict
