"""The rows of a mini-batch: gathered from a table, and their shares of the mean loss."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import carray, types

from gpu_mlp.backends.compiled.machine_code import (
    address_of,
    callable_at,
    like,
    loop_formula,
    octets_at,
    pointer_to,
    prefetch,
)
from gpu_mlp.backends.records import Array

__all__ = ["gather", "gather_by_unit", "row_shares", "share_rows", "turn_by_unit"]


# The rows of a table lie far apart, and no processor guesses which comes next: it is told so many rows before, and of
# long ones only of the first bytes, since it guesses the rest.
ROWS_AHEAD, MOST_AHEAD, LINE = 8, 512, 64


@loop_formula
def announce(table: int, order: Array, b: int, width: int) -> None:
    """The row that comes some rows after number b."""
    if b + ROWS_AHEAD < order.size:
        to_come = table + order[b + ROWS_AHEAD] * width
        for line in range(min(width, MOST_AHEAD) // LINE + 1):
            prefetch(to_come + line * LINE)


@loop_formula
def gather(table: int, order: Array, width: int, rows: int) -> None:
    """The rows `order` of what lies at the address `table` to the address `rows`; a row has `width` bytes."""
    source, target = octets_at(table), octets_at(rows)
    for b in range(order.size):
        announce(table, order, b, width)
        start = order[b] * width
        for i in range(width):
            target[b * width + i] = source[start + i]


@loop_formula
def gather_by_unit(table: Array, order: Array, first: int, x: Array) -> None:
    """The rows `order` of a table (N, D) to the columns of x (D, B) from `first` on."""
    address, columns = table.ctypes.data, table.shape[1]
    for b in range(order.size):
        announce(address, order, b, columns * table.itemsize)
        for i in range(columns):
            x[i, first + b] = table[order[b], i]


@loop_formula
def turn_by_unit(rows: Array, first: int, x: Array) -> None:
    """Rows (n, D) to the columns of x (D, B) from `first` on."""
    for i in range(rows.shape[1]):
        for b in range(len(rows)):
            x[i, first + b] = rows[b, i]


@loop_formula
def share_rows(weights: Array, share: Array) -> Any:
    """s_b = w_b / sum(w); returns the sum, infinite where it is 0, whose shares are 0."""
    total = 0.0
    for b in range(weights.size):
        total += weights[b]
    rounded = like(weights[0], total if total >= np.finfo(weights.dtype).tiny else math.inf)
    for b in range(weights.size):
        share[b] = weights[b] / rounded
    return rounded


def _share_rows_at(weights: Any, total: Any, share: Any, size: int) -> None:
    total[0] = share_rows(carray(weights, size), carray(share, size))


@cache
def row_shares(dtype: str) -> Callable[[Array, Array, Array], None]:
    """The primitive `row_shares` with the bits that a compiled step has for rows of a table."""
    number = pointer_to(dtype)
    address = address_of(_share_rows_at, f"row_shares_{dtype}", number, number, number, types.int64)
    call = callable_at(address, *[ctypes.c_int64] * 4)

    def shares(weights: Array, total: Array, share: Array) -> None:
        weights = np.require(weights, requirements=["A", "C"])
        call(weights.ctypes.data, total.ctypes.data, share.ctypes.data, share.size)

    return shares
