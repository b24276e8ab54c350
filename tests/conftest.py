"""Fixtures of every test: the backends that a test body runs over, and guarded memory for its outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.cuda_backend import cuda_ops, cuda_reference_ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.errors import DeviceError
from tests.backends.emulated import emulated_ops
from tests.backends.guards import GuardedMemory

# A further backend is one more line: its name and what makes its Ops, or raises DeviceError where it cannot.
BACKENDS: dict[str, Callable[[], Ops]] = {
    "numpy": numpy_ops,
    "cuda-emulated": emulated_ops,
    "cuda-emulated-checked": lambda: emulated_ops("check"),
    "cuda-reference": lambda: cuda_reference_ops(0),
    "cuda": lambda: cuda_ops(0),
}


def ops_or_skip(name: str) -> Ops:
    """The backend; where it cannot run the test is skipped, or under GPU_MLP_REQUIRE_GPU=1 fails."""
    try:
        return BACKENDS[name]()
    except DeviceError as error:
        if os.environ.get("GPU_MLP_REQUIRE_GPU") == "1" and "emulated" not in name:
            pytest.fail(f"GPU_MLP_REQUIRE_GPU=1, but the backend {name} cannot run: {error}")
        pytest.skip(str(error))


def chosen_or_skip(name: str, monkeypatch: pytest.MonkeyPatch) -> Ops:
    """The backend; a network on its device, where that is not the default, runs on it."""
    chosen = ops_or_skip(name)
    if chosen.device != "cpu":
        monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: chosen)
        monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)
    return chosen


@pytest.fixture(params=BACKENDS)
def ops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ops:
    """Every backend in turn."""
    return chosen_or_skip(request.param, monkeypatch)


@pytest.fixture
def memory(ops: Ops) -> Iterator[GuardedMemory]:
    """Makes output arrays full of NaN between guard zones; the zones are looked at when the test is over."""
    guarded = GuardedMemory(ops.xp)
    yield guarded
    guarded.check()
