"""Readings over a stretch of time, and the thread that takes them."""

from __future__ import annotations

import threading
import time

import pytest

from gpu_mlp.telemetry.measures import MEASURES, Reading, summarised
from gpu_mlp.telemetry.sampler import Sampler

READINGS: list[Reading] = [
    {"gpu_power_watts": 100.0, "gpu_memory_bytes": 5.0, "gpu_energy_joules": 10.0, "gpu_throttled": ""},
    {"gpu_power_watts": 200.0, "gpu_memory_bytes": 9.0, "gpu_throttled": "power cap+temperature"},
    {
        "gpu_power_watts": 600.0,
        "gpu_memory_bytes": 7.0,
        "gpu_energy_joules": 40.0,
        "gpu_throttled": "power cap",
    },
]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "gpu_mlp-telemetry"]


class Counting:
    """A meter that tells how often it was read."""

    def __init__(self) -> None:
        self.reads, self.closed = 0, 0

    def read(self) -> Reading:
        self.reads += 1
        return {"gpu_energy_joules": float(self.reads), "gpu_power_watts": float(self.reads)}

    def close(self) -> None:
        self.closed += 1


def test_a_stretch_is_the_mean_the_largest_the_difference_and_all_reasons() -> None:
    assert summarised(READINGS) == {
        "gpu_memory_bytes": 9.0,
        "gpu_power_watts": 300.0,
        "gpu_energy_joules": 30.0,
        "gpu_throttled": "power cap+temperature",
    }


def test_what_was_not_read_is_left_out() -> None:
    assert summarised([]) == {}
    assert summarised([{"cpu_seconds": 1.0}]) == {}  # a difference of one reading is none
    assert list(summarised([dict.fromkeys(MEASURES, 1.0)] * 2)) == list(MEASURES)


def test_stretches_follow_one_another_without_a_gap() -> None:
    meter = Counting()
    sampler = Sampler([meter], seconds=100.0)
    sampler.start()
    first = sampler.take()
    second = sampler.take()
    sampler.stop()
    assert (first["gpu_energy_joules"], second["gpu_energy_joules"]) == (1.0, 1.0)
    assert (first["gpu_power_watts"], second["gpu_power_watts"]) == (1.5, 2.5)
    assert (meter.reads, meter.closed) == (3, 1)
    assert threads() == []


def test_readings_are_taken_in_between() -> None:
    meter = Counting()
    sampler = Sampler([meter], seconds=0.001)
    sampler.start()
    assert threads() == ["gpu_mlp-telemetry"]
    deadline = time.monotonic() + 30.0
    while meter.reads < 20 and time.monotonic() < deadline:
        time.sleep(0.001)
    sampler.stop()
    assert meter.reads >= 20
    assert threads() == []


def test_several_meters_are_one_reading() -> None:
    class Other(Counting):
        def read(self) -> Reading:
            return {"cpu_seconds": 2.0, "gpu_power_watts": 5.0}

    sampler = Sampler([Counting(), Other()], seconds=100.0)
    sampler.start()
    found = sampler.take()
    sampler.stop()
    assert found["gpu_power_watts"] == 5.0
    assert found["cpu_seconds"] == pytest.approx(0.0)
