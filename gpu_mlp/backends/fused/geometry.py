"""How many blocks of how many threads: enough to fill the device, few enough that each has work."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

__all__ = ["FLAT_BLOCK", "Geometry", "by_columns", "by_elements", "column_sums", "packed", "power_of_two"]

# Grid and block of a launch.
Geometry: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]

THREADS = 256
FLAT_BLOCK = (THREADS,)
# Blocks of 256 threads that a multiprocessor holds at once.
BLOCKS_A_MULTIPROCESSOR = 8
ROWS_A_THREAD = 8


def packed(itemsize: int) -> int:
    """Elements of a 16-byte access."""
    return 16 // itemsize


def power_of_two(size: int, largest: int) -> int:
    """The least power of two that is at least `size`, or `largest`."""
    return min(1 << (size - 1).bit_length(), largest)


@cache
def by_elements(size: int, pack: int, multiprocessors: int) -> Geometry:
    """For `for_each`: a thread for every pack, up to what the device holds at once."""
    blocks = max(1, -(-size // (THREADS * pack)))
    return (min(blocks, BLOCKS_A_MULTIPROCESSOR * multiprocessors),), FLAT_BLOCK


@cache
def by_columns(rows: int, width: int, pack: int, multiprocessors: int) -> Geometry:
    """For `for_each_column` and `for_each_row`: x over packs of columns, y over rows."""
    packs = width // pack if width % pack == 0 else width
    rows = max(rows, 1)
    x = power_of_two(packs, THREADS)
    y = THREADS // x
    grid_x = -(-packs // x)
    most = max(1, BLOCKS_A_MULTIPROCESSOR * multiprocessors // grid_x)
    return (grid_x, min(-(-rows // y), most)), (x, y)


@cache
def column_sums(rows: int, width: int, multiprocessors: int) -> Geometry:
    """For the first of the two launches of `column_sums`: grid (columns, parts), at most one part for a row."""
    x = power_of_two(width, 32)
    y = THREADS // x
    grid_x = -(-width // x)
    most = max(1, BLOCKS_A_MULTIPROCESSOR * multiprocessors // grid_x)
    return (grid_x, max(1, min(rows // (y * ROWS_A_THREAD), most))), (x, y)
