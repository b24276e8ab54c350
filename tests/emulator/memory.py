"""Arrays that show what a kernel left unwritten, and end the launch that leaves them.

An array is full of NaN (bytes 0xff). Its last element lies against a page that cannot be read or written, save for at
most 15 bytes that let its start be a multiple of 16, as vector types need. Those bytes and some before the array are
looked at after every launch.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tests.emulator.errors import EmulatorError
from tests.emulator.native import runtime

__all__ = ["asarray", "check_margins", "empty", "is_guarded", "zeros"]

PAGE = mmap.PAGESIZE
ALIGNMENT = 16
MARGIN = 256  # bytes before an array that are looked at
FILL = 0xFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


@dataclass(frozen=True)
class _Block:
    """The memory of an array: usable from `usable` to `start + capacity`, the array's from `start` for `size`."""

    usable: int
    start: int
    size: int
    capacity: int

    def stray_write(self) -> str | None:
        """On which side of the array something was written; what was written is wiped out, so it is seen once."""
        margin = min(MARGIN, self.start - self.usable)
        sides = {
            "after": (self.start + self.size, self.capacity - self.size),
            "before": (self.start - margin, margin),
        }
        for side, (start, size) in sides.items():
            if ctypes.string_at(start, size).strip(bytes([FILL])):
                ctypes.memset(start, FILL, size)
                return side
        return None


_blocks: dict[int, _Block] = {}


def empty(
    shape: int | tuple[int, ...], dtype: DTypeLike = np.float32, *, name: str | None = None
) -> NDArray[Any]:
    """An array full of NaN, of -1 or of the largest number; messages call it by `name` or by its type and shape."""
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"a kernel knows no Python objects, but the array was to be of {dtype}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = _allocate(size, name or f"{dtype}{list(shape)}")
    return np.ndarray(shape, dtype, memoryview(buffer))


def zeros(
    shape: int | tuple[int, ...], dtype: DTypeLike = np.float32, *, name: str | None = None
) -> NDArray[Any]:
    """An array of zeros."""
    array = empty(shape, dtype, name=name)
    array[...] = 0
    return array


def asarray(values: ArrayLike, dtype: DTypeLike | None = None, *, name: str | None = None) -> NDArray[Any]:
    """A copy of the values in guarded memory, in C order."""
    values = np.asarray(values, dtype)
    array = empty(values.shape, values.dtype, name=name)
    array[...] = values
    return array


def _allocate(size: int, name: str) -> ctypes.Array[ctypes.c_char]:
    capacity = max(ALIGNMENT, _rounded_up(size, ALIGNMENT))
    usable_size = _rounded_up(capacity, PAGE)
    mapped_size = usable_size + 2 * PAGE
    readable = mmap.PROT_READ | mmap.PROT_WRITE
    mapped = _libc.mmap(None, mapped_size, readable, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if mapped == ctypes.c_void_p(-1).value:
        raise MemoryError(f"no memory for {name} ({size} bytes)")
    usable = mapped + PAGE
    _libc.mprotect(mapped, PAGE, 0)
    _libc.mprotect(usable + usable_size, PAGE, 0)
    ctypes.memset(usable, FILL, usable_size)

    start = usable + usable_size - capacity
    _blocks[start] = _Block(usable, start, size, capacity)
    runtime().register(start, size, start - mapped, capacity + PAGE, name)
    buffer = (ctypes.c_char * size).from_address(start)
    weakref.finalize(buffer, _release, start, mapped, mapped_size).atexit = False
    return buffer


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _release(start: int, mapped: int, mapped_size: int) -> None:
    del _blocks[start]
    runtime().unregister(start)
    _libc.munmap(mapped, mapped_size)


def is_guarded(array: NDArray[Any]) -> bool:
    """Whether the array's memory was made here."""
    start = array.ctypes.data
    return any(block.start <= start < block.start + max(1, block.size) for block in _blocks.values())


def check_margins(kernel: str) -> None:
    """Raise EmulatorError where something was written beside an array."""
    for block in list(_blocks.values()):
        side = block.stray_write()
        if side is not None:
            raise EmulatorError(f"{kernel}: wrote {side} an array of {block.size} bytes, outside of it")
