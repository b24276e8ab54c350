"""How many blocks of how many threads: enough to fill the device, few enough that each has work."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

__all__ = [
    "FLAT_BLOCK",
    "THREADS",
    "Geometry",
    "by_columns",
    "by_elements",
    "by_groups",
    "column_sums",
    "one_block",
    "packed",
    "power_of_two",
]

# Grid and block of a launch.
Geometry: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]

THREADS = 256
LARGEST_BLOCK = 1024
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
    grid_x, most, (x, y) = _over_columns(packs, THREADS, multiprocessors)
    return (grid_x, min(-(-max(rows, 1) // y), most)), (x, y)


@cache
def column_sums(rows: int, width: int, multiprocessors: int) -> Geometry:
    """For the first of the two launches of `column_sums`: grid (columns, parts), at most one part for a row."""
    grid_x, most, (x, y) = _over_columns(width, 32, multiprocessors)
    return (grid_x, max(1, min(rows // (y * ROWS_A_THREAD), most))), (x, y)


def _over_columns(columns: int, widest: int, multiprocessors: int) -> tuple[int, int, tuple[int, int]]:
    """Blocks over the columns, the most that are of use over the rows, and the block, at most `widest` across."""
    x = power_of_two(columns, widest)
    grid_x = -(-columns // x)
    return grid_x, max(1, BLOCKS_A_MULTIPROCESSOR * multiprocessors // grid_x), (x, THREADS // x)


@cache
def by_groups(rows: int, group: int, multiprocessors: int) -> Geometry:
    """For rows that have `group` threads each, a power of 2 up to a whole block."""
    blocks = -(-rows * group // THREADS)
    return (min(blocks, BLOCKS_A_MULTIPROCESSOR * multiprocessors),), FLAT_BLOCK


def one_block(size: int) -> Geometry:
    """For a sum over `size` elements by one block of whole warps."""
    return (1,), (max(32, power_of_two(size, LARGEST_BLOCK)),)
