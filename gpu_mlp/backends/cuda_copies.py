"""`graphs_and_copies.Copies` in CuPy: page-locked memory, a stream of its own, and events between it and computing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.graphs_and_copies import Mark
from gpu_mlp.errors import DeviceError

__all__ = ["CupyCopies"]


class CupyCopies:
    """Copies to one CUDA device; the computing is what its current stream of the calling thread does."""

    def __init__(self, cupy: Any, index: int) -> None:
        self._cuda = cupy.cuda
        self._index = index
        with self._cuda.Device(index):
            # The null stream, where computing usually is, waits for every stream that is not non-blocking.
            self._stream = self._cuda.Stream(non_blocking=True)

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Page-locked memory; DeviceError where the machine has none left."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            memory = self._cuda.alloc_pinned_memory(size)
        except self._cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(
                f"{size / 2**20:,.0f} MiB of page-locked host memory for copies to cuda:{self._index} cannot be had "
                f"({error}); end what else holds such memory, or take a smaller batch"
            ) from error
        return np.ndarray(shape, dtype, buffer=memory)

    def start(self, pairs: Sequence[tuple[np.ndarray[Any, Any], Any]], after: Mark) -> Mark:
        """On this object's stream."""
        with self._cuda.Device(self._index):
            self._stream.wait_event(after)
            try:
                for source, target in pairs:
                    _check(source, target)
                    target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self._stream)
                return self._recorded(self._stream)
            except BaseException:  # nobody could wait for what has begun: it has no event
                self._stream.synchronize()
                raise

    def computed(self) -> Mark:
        """An event on the device's current stream, whichever device is the current one."""
        with self._cuda.Device(self._index):
            return self._recorded(self._cuda.get_current_stream())

    def hold_computing(self, until: Mark) -> None:
        """The device's current stream waits."""
        with self._cuda.Device(self._index):
            self._cuda.get_current_stream().wait_event(until)

    def wait_here(self, until: Mark) -> None:
        """The thread sleeps."""
        until.synchronize()

    def _recorded(self, stream: Any) -> Mark:
        event = self._cuda.Event(block=True, disable_timing=True)
        event.record(stream)
        return event


def _check(source: np.ndarray[Any, Any], target: Array) -> None:
    """The copy is one of bytes, from address to address."""
    same = source.dtype == target.dtype and source.shape == target.shape
    if not (same and source.flags.c_contiguous and target.flags.c_contiguous):
        raise TypeError(
            f"a copy from {source.dtype} {source.shape} to {target.dtype} {target.shape} is not one of bytes; "
            "both arrays must be contiguous, of one type and shape"
        )
