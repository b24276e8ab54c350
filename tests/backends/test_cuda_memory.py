"""A device without memory, played by a stand-in for CuPy."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.cuda_memory import ALLOCATING, CupyArrays
from gpu_mlp.errors import DeviceError


class OutOfMemoryError(MemoryError):
    """As CuPy words it."""


class Device:
    """A module like CuPy with room for some bytes, of which its pools hold a part."""

    def __init__(self, free: int, pooled: int) -> None:
        self.free, self.pooled = free, pooled
        self.limit = 0
        self.cuda = SimpleNamespace(
            Device=lambda index: nullcontext(),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            runtime=SimpleNamespace(memGetInfo=lambda: (self.free * 2**20, 16 * 2**20)),
        )
        self.ndarray = np.ndarray
        self.freed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in ALLOCATING:
            raise AttributeError(name)

        def allocate(shape: Any, *rest: Any) -> Any:
            array = getattr(np, name)(shape, *rest)
            if array.nbytes > self.free * 2**20:
                raise OutOfMemoryError(
                    f"Out of memory allocating {array.nbytes:,} bytes (allocated so far: 0 bytes)."
                )
            return array

        return allocate

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(
            free_all_blocks=self._free, get_limit=lambda: self.limit * 2**20, used_bytes=lambda: 3 * 2**20
        )

    def get_default_pinned_memory_pool(self) -> Any:
        return SimpleNamespace(free_all_blocks=lambda: self.freed.append("pinned"))

    def _free(self) -> None:
        self.freed.append("pool")
        self.free, self.pooled = self.free + self.pooled, 0


MEGABYTE = 2**20


def test_while_there_is_room_nothing_is_freed() -> None:
    device = Device(free=4, pooled=4)
    arrays = CupyArrays(device, 0)
    np.testing.assert_array_equal(arrays.zeros((2, 3)), np.zeros((2, 3)))
    assert arrays.zeros.__name__
    assert not device.freed


def test_pools_are_freed_before_anybody_is_told() -> None:
    device = Device(free=1, pooled=3)
    assert CupyArrays(device, 0).empty(2 * MEGABYTE, np.uint8).nbytes == 2 * MEGABYTE
    assert device.freed == ["pool", "pinned"]


@pytest.mark.parametrize("function", ["empty", "zeros", "ones"])
def test_the_error_says_what_was_needed_and_what_was_free(function: str) -> None:
    arrays = CupyArrays(Device(free=1, pooled=1), 3)
    with pytest.raises(DeviceError) as caught:
        getattr(arrays, function)(3 * MEGABYTE, np.uint8)
    assert str(caught.value) == (
        "cuda:3 has no memory left: Out of memory allocating 3,145,728 bytes (allocated so far: 0 bytes), while 2 of "
        "16 MiB are free; take a smaller batch or network, or end what else runs on it"
    )
    assert isinstance(caught.value.__cause__, OutOfMemoryError)


def test_everything_else_is_cupys_own() -> None:
    device = Device(free=1, pooled=0)
    arrays = CupyArrays(device, 0)
    assert arrays.ndarray is np.ndarray
    with pytest.raises(AttributeError):
        _ = arrays.nothing_like_it


@pytest.mark.parametrize(("limit", "free"), [(0, 6), (5, 2), (20, 6), (2, 0)])
def test_free_memory_is_what_is_left_once_the_pools_are_freed(limit: int, free: int) -> None:
    """CuPy's own limit counts what its arrays have, here 3 MiB."""
    device = Device(free=2, pooled=4)
    device.limit = limit
    assert CupyArrays(device, 0).free_memory() == free * 2**20
    assert device.freed == ["pool", "pinned"]
