"""The stages that need CuPy, on a stand-in for it whose kernels the emulator runs: every call is made once."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from gpu import ceilings, device, kernels, quiet
from gpu.idle_products import IdleProducts
from gpu.kernel_cases import kernel_cases
from gpu.notes import Notes
from gpu.problems import Problem

from gpu_mlp.backends import cuda_backend, cupy_device
from gpu_mlp.backends.base import PRECISION_NAMES
from gpu_mlp.backends.cublaslt import LtProducts
from tests.backends import fake_cupy
from tests.backends.emulated import EmulatedPlace, Recorder, emulated_ops, recorded_products
from tests.emulator import unavailable_reason

MEASURED_SHAPES = ((3, 4), (8, 2))


class Event:
    """A moment of the host's clock."""

    done = False

    def __init__(self, disable_timing: bool = False) -> None:
        pass

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass


class MemoryHook:
    """Hears nothing: nothing is allocated on a device."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class MemoryPool:
    """Nothing to free."""

    def free_all_blocks(self) -> None:
        pass


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CuPy on the host, with events, a memory pool and captures that repeat the work."""
    reason = unavailable_reason()
    if reason is not None:
        pytest.skip(f"kernels cannot be emulated here: {reason}")
    with fake_cupy.no_memory_of_devices():
        fake_cupy.install(monkeypatch, fake_cupy.Machine())
        module = sys.modules["cupy"]
        cuda: Any = module.cuda
        properties = {
            "name": b"Imaginary",
            "totalGlobalMem": 1 << 30,
            "multiProcessorCount": 1,
            "l2CacheSize": 100,
            "major": 9,
            "minor": 0,
        }
        cuda.Event = Event
        cuda.get_elapsed_time = lambda a, b: (b.at - a.at) * 1e3
        cuda.nvrtc = SimpleNamespace(getVersion=lambda: (13, 0))
        cuda.memory_hook = SimpleNamespace(MemoryHook=MemoryHook)
        cuda.Device.synchronize = lambda self: None
        cuda.Device.__init__.__defaults__ = (0,)
        cuda.runtime.getDeviceProperties = lambda index: properties
        cuda.runtime.memGetInfo = lambda: (1 << 12, 1 << 30)
        module.__dict__["get_default_memory_pool"] = MemoryPool
        module.__dict__["RawKernel"] = lambda source, name: lambda grid, block, arguments: None
        monkeypatch.setattr(cupy_device, "capture_with_cupy", lambda work: work)
        monkeypatch.setattr(cupy_device, "CupyPlace", lambda index: EmulatedPlace())
        monkeypatch.setattr(cuda_backend, "capture_with_cupy", lambda work: work)
        yield module


def quiet_notes() -> Notes:
    return Notes(None, 1000, lambda line: None)


def test_the_device_tells_what_it_is(cupy: Any) -> None:
    notes = quiet_notes()
    device.measure(notes)
    assert notes.results["name"] == "Imaginary"
    assert notes.results["compute_capability"] == "9.0"
    assert notes.results["captures"] is False  # NumPy's products are none that can be captured
    assert "failures" not in notes.results


def use_emulated_device(monkeypatch: pytest.MonkeyPatch, cupy: Any) -> None:
    """device="cuda" with products that can be captured."""
    ops = replace(emulated_ops(), xp=cupy)
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: ops)
    monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)


def planned_products() -> LtProducts:
    """cuBLASLt's, on a stand-in that has every epilogue."""
    return recorded_products(Recorder(), frozenset())


def test_the_ceilings_are_measured(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "PRODUCT_SIZE", 8)
    monkeypatch.setattr(ceilings, "cuda_products", planned_products)
    notes = quiet_notes()
    use_emulated_device(monkeypatch, cupy)
    ceilings.measure(notes)
    assert "failures" not in notes.results
    assert notes.results["copy"]["bytes_per_s"] > 0
    measured = {key for key in notes.results if key.startswith("product")}
    halves = {f"product {each}{more}" for each in ("bf16", "fp16") for more in ("", ", float32 result")}
    assert measured == {"product float32", "product tf32", "product float64"} | halves
    assert notes.results["product bf16"]["by"] == "LtProducts"
    assert notes.results["graph of 10 nodes"] > 0


def test_every_kernel_and_product_is_measured(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "shapes_for", lambda free: MEASURED_SHAPES)
    monkeypatch.setattr(kernels, "PRODUCT_SIZES", ((2, 8, 16),))
    monkeypatch.setattr(kernels, "cuda_products", planned_products)
    monkeypatch.setattr("gpu.timing.ROUNDS", 1)
    monkeypatch.setattr("gpu.timing.SECONDS_A_GRAPH", 0.0)
    notes = quiet_notes()
    kernels.measure(notes)
    assert "failures" not in notes.results

    def count(precision: str) -> int:
        return len(list(kernel_cases(emulated_ops(), IdleProducts(), 2, 2, precision)))

    rows = Counter(row["precision"] for row in notes.results["kernels"])
    assert rows == {
        "float32": 2 * count("float32"),
        "bf16": count("bf16"),
        "float64": count("float64"),
    }
    rows = Counter(row["precision"] for row in notes.results["products"])
    assert rows == {"float32": 6, "tf32": 6, "float64": 6, "bf16": 8, "fp16": 8}
    assert {row["timed"] for row in notes.results["kernels"]} == {"graph"}


def test_the_profile_is_taken(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "PROBLEMS", [Problem((3, 4, 1), 8)])
    monkeypatch.setattr(quiet, "STEPS", 5)
    monkeypatch.setattr("gpu.own_steps.MOST_ROWS", 1)
    monkeypatch.setattr(quiet, "driver_calls_of", lambda cupy, own: {"calls": {}})
    notes = quiet_notes()
    use_emulated_device(monkeypatch, cupy)
    quiet.measure(notes)
    assert "failures" not in notes.results
    forms = [f"{form} {each}" for each in ("float32", "bf16", "fp16") for form in ("step", "run_steps")]
    for name in forms:
        found = notes.results[name]
        assert found["problem"].endswith(name.split()[1])
        assert found["memory"] == {
            "asked_of_the_pool": 0,
            "asked_of_the_device": 0,
            "bytes_of_the_device": 0,
        }
        assert found["python"] == {}
        assert found["ahead"]["5 steps"]["waited"] is False
    assert [row["same"] for row in notes.results["bits"]] == [True] * 10
    assert {row["precision"] for row in notes.results["bits"]} == set(PRECISION_NAMES)
    assert len({row["fingerprints"][0] for row in notes.results["bits"]}) == 10


def test_a_profile_without_time_says_what_is_missing(cupy: Any) -> None:
    notes = Notes(None, 1.0, lambda line: None)
    quiet.measure(notes)
    assert set(notes.results) == {"skipped"}
    assert "run_steps fp16: no time left" in notes.results["skipped"]
    assert "bits in tf32, dropout 0.2: no time left" in notes.results["skipped"]
