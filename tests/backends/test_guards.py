"""The tests' own tools: the guarded memory must see what it is there to see, a missing GPU must be said."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.errors import DeviceError
from tests import conftest
from tests.backends.guards import GuardedMemory


def test_an_array_starts_as_nan_of_the_asked_shape_and_type() -> None:
    array = GuardedMemory(np)(3, 5, dtype=np.float32)
    assert array.shape == (3, 5)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert np.isnan(array).all()


def test_a_write_inside_passes() -> None:
    memory = GuardedMemory(np)
    memory(7)[...] = 1.0
    memory.check()


@pytest.mark.parametrize(("offset", "side"), [(-1, "before"), (7, "after")])
def test_a_write_beside_the_array_is_seen(offset: int, side: str) -> None:
    memory = GuardedMemory(np)
    array = memory(7)
    flat = array.base
    start = (array.ctypes.data - flat.ctypes.data) // flat.itemsize
    flat[start + offset] = 1.0
    with pytest.raises(AssertionError, match=side):
        memory.check()


@pytest.fixture
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Ops:
        raise DeviceError("this machine has no NVIDIA driver")

    monkeypatch.setitem(conftest.BACKENDS, "cuda-reference", fail)


@pytest.mark.usefixtures("_no_gpu")
def test_a_missing_gpu_is_a_skip_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPU_MLP_REQUIRE_GPU", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no NVIDIA driver"):
        conftest.ops_or_skip("cuda-reference")


@pytest.mark.usefixtures("_no_gpu")
def test_a_missing_gpu_is_a_failure_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_MLP_REQUIRE_GPU", "1")
    with pytest.raises(pytest.fail.Exception, match="no NVIDIA driver"):
        conftest.ops_or_skip("cuda-reference")
