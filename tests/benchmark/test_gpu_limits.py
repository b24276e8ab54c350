"""A GPU's ceilings, on the emulated device; its clock, on events that are written down."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.benchmark.cases import PROBLEMS, Case
from gpu_mlp.benchmark.contestants import contestants_of
from gpu_mlp.benchmark.contestants.own import rotating
from gpu_mlp.benchmark.gpu_limits import device_seconds, measure_gpu_ceilings
from gpu_mlp.benchmark.limits import floor_of
from gpu_mlp.benchmark.run import run_benchmark
from gpu_mlp.benchmark.timing import Method
from tests.conftest import chosen_or_skip


def test_every_ceiling_is_measured_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = chosen_or_skip("cuda-emulated", monkeypatch)
    found = measure_gpu_ceilings(ops, ("float32", "bf16"), sizes=(8, 16), copied=(512, 4096))
    assert {name: sorted(rates) for name, rates in found.products.items()} == {
        "float32": [8, 16],
        "bf16": [8, 16],
    }
    assert sorted(found.copies) == [512, 4096]
    assert all(rate > 0.0 for rates in found.products.values() for rate in rates.values())
    assert found.call_seconds > 0.0
    floor = floor_of(Case(PROBLEMS["small"], 64, "bf16", "step"), found)
    assert floor is not None
    assert floor.seconds > 0.0


def test_what_does_not_fit_the_memory_is_left_out() -> None:
    ops = replace(numpy_ops(), free_memory=lambda: 5000)
    found = measure_gpu_ceilings(ops, ("float32",), sizes=(8, 16), copied=(512, 4096))
    assert sorted(found.products["float32"]) == [8]
    assert sorted(found.copies) == [512]


class Events:
    """CUDA's events, which write down what happens; the device's clock is at 5 ms when they are asked."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def Event(self) -> Any:  # noqa: N802 - CuPy's name
        number = sum(each.startswith("new") for each in self.told)
        self.told.append(f"new {number}")
        return SimpleNamespace(
            record=lambda: self.told.append(f"record {number}"),
            synchronize=lambda: self.told.append(f"wait {number}"),
        )

    def get_elapsed_time(self, start: Any, end: Any) -> float:
        self.told.append("elapsed")
        return 5.0


def test_the_time_is_between_two_events() -> None:
    events = Events()
    ops: Any = SimpleNamespace(xp=SimpleNamespace(cuda=events))
    assert device_seconds(ops, lambda: events.told.append("work")) == 5e-3
    assert events.told == ["new 0", "new 1", "record 0", "work", "record 1", "wait 1", "elapsed"]


def test_without_events_there_is_no_time_of_the_device() -> None:
    done: list[str] = []
    assert device_seconds(numpy_ops(), lambda: done.append("work")) is None
    assert done == ["work"]


def test_a_gpus_inputs_lie_elsewhere_in_every_run_with_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gpu_mlp.benchmark.contestants.own.BYTES_IN_TURN", 100)
    x, y = np.arange(8.0), np.arange(2.0)
    turns = rotating(replace(numpy_ops(), device="cuda:0"), x, y)
    given = [next(turns) for _ in range(4)]
    assert len({id(first) for first, _ in given}) == 2
    assert given[0][0] is given[2][0] is x
    assert all(np.array_equal(first, x) and np.array_equal(second, y) for first, second in given)
    assert len({id(array) for (array,) in (next(rotating(numpy_ops(), x)) for _ in range(3))}) == 1


def test_the_gpu_stands_beside_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the emulated device: its own ceilings and floor, and the same results."""
    ops = chosen_or_skip("cuda-emulated", monkeypatch)
    small = measure_gpu_ceilings(ops, ("float32",), sizes=(8,), copied=(512,))
    monkeypatch.setattr("gpu_mlp.benchmark.contestants.own.measure_gpu_ceilings", lambda *_: small)
    cases = [Case(PROBLEMS["tiny"], 8, "float32", task) for task in ("step", "inference")]  # type: ignore[arg-type]
    result = run_benchmark("quick", cases, contestants_of(("cpu", "cuda"), ()), Method(3, 0.001), 1)
    assert result.finished
    assert result.gpu_ceilings == small.document()
    for row in result.rows:
        assert list(row["contestants"]) == ["gpu_mlp", "gpu_mlp cuda"]
        assert row["skipped"] == {}
        assert row["gpu_floor"]["seconds"] > 0.0
        assert row["floor"]["seconds"] != row["gpu_floor"]["seconds"]
