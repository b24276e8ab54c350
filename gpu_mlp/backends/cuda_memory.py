"""CuPy with one change: without memory left its pools are freed, and then an error says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gpu_mlp.errors import DeviceError

__all__ = ["CupyArrays"]

# What allocates an array that the caller keeps; temporaries of other functions are CuPy's own.
ALLOCATING = (
    *("empty", "zeros", "ones", "full", "arange"),
    *("empty_like", "zeros_like", "full_like", "asarray", "ascontiguousarray"),
)


class CupyArrays:
    """The module `cupy`, whose functions that make arrays raise DeviceError where there is no memory for one."""

    def __init__(self, cupy: Any, index: int) -> None:
        self._cupy = cupy
        self._index = index

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cupy, name)
        if name in ALLOCATING:
            value = self._guarded(value)
        setattr(self, name, value)  # found without this method from now on
        return value

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        out_of_memory = self._cupy.cuda.memory.OutOfMemoryError

        @wraps(function)
        def call(*arguments: Any, **settings: Any) -> Any:
            try:
                return function(*arguments, **settings)
            except out_of_memory:
                self._free_pools()
            try:
                return function(*arguments, **settings)
            except out_of_memory as error:
                free, total = (size / 2**20 for size in self._cupy.cuda.runtime.memGetInfo())
                raise DeviceError(
                    f"cuda:{self._index} has no memory left: {str(error).rstrip('.')}, while {free:,.0f} of "
                    f"{total:,.0f} MiB are free; take a smaller batch or network, or end what else runs on it"
                ) from error

        return call

    def free_memory(self) -> int:
        """Bytes that can still be allocated, the unused ones of the pools among them."""
        cupy = self._cupy
        with cupy.cuda.Device(self._index):
            self._free_pools()
            free, _ = cupy.cuda.runtime.memGetInfo()
            pool = cupy.get_default_memory_pool()
            limit = int(pool.get_limit())  # 0: none
            return int(free) if limit == 0 else min(int(free), max(limit - int(pool.used_bytes()), 0))

    def _free_pools(self) -> None:
        self._cupy.get_default_memory_pool().free_all_blocks()
        self._cupy.get_default_pinned_memory_pool().free_all_blocks()
