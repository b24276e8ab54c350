"""The rows that a training reads: their arrays where they lie, checked a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.reference.precisions import LARGEST_HALF, TOO_LARGE_FOR_HALF
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError, ShapeError
from gpu_mlp.network.losses import as_targets, as_weights, check_targets, target_type
from gpu_mlp.network.network import Network
from gpu_mlp.network.placing import to_type
from gpu_mlp.network.sparse_rows import SparseRows

__all__ = ["Column", "Table", "check_values", "given_table"]

# What is checked or moved to the device at once: 16 MiB of float32.
ELEMENTS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Column:
    """One array of a table, (N,) or (N, D), where it lies, and the type in which a step reads it."""

    array: Array
    dtype: np.dtype[Any]

    @property
    def is_sparse(self) -> bool:
        """Whether zeros take no memory where it lies."""
        return isinstance(self.array, SparseRows)

    @property
    def nbytes(self) -> int:
        """In that type, with all zeros."""
        return self.array.size * self.dtype.itemsize

    def rows(self, ops: Ops, rows: slice) -> Array:
        """Some rows on the device in that type."""
        return to_type(ops, self.array[rows], self.dtype)

    def missing_bytes(self, ops: Ops) -> int:
        """How much of the device's memory `on_device` takes."""
        ready = self._is_there(ops) and self.array.dtype == self.dtype and self.array.flags.c_contiguous
        return 0 if ready else self.nbytes

    def on_device(self, ops: Ops) -> Column:
        """All rows on the device in that type, copied only where needed, through little memory beside their own."""
        if self._is_there(ops):
            return replace(self, array=to_type(ops, self.array, self.dtype))
        array: Array = ops.xp.empty(self.array.shape, self.dtype)
        for rows in _blocks([self.array]):
            array[rows] = self.rows(ops, rows)
        return replace(self, array=array)

    def on_host(self, ops: Ops) -> Column:
        """All rows on the host, as they are where they lie there."""
        there = isinstance(self.array, np.ndarray | SparseRows)
        return self if there else replace(self, array=ops.to_host(self.array))

    def _is_there(self, ops: Ops) -> bool:
        """Whether the array lies in the device's memory, which may be the host's."""
        return isinstance(self.array, type(ops.xp.empty(0, self.dtype)))


@dataclass(frozen=True)
class Table:
    """Columns of as many rows, whose shapes and types fit a network and a loss."""

    what: str  # as messages call it
    x: Column
    y: Column
    weights: Column | None

    def __len__(self) -> int:
        return len(self.x.array)

    @property
    def columns(self) -> tuple[Column, ...]:
        """x, y, and the weights if there are any."""
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    @cached_property
    def arrays(self) -> tuple[Array, Array, Array | None]:
        """x, y and weights: always the same tuple."""
        return self.x.array, self.y.array, None if self.weights is None else self.weights.array

    @property
    def nbytes(self) -> int:
        """In the types that a step reads."""
        return sum(column.nbytes for column in self.columns)

    def on_device(self, ops: Ops) -> Table:
        """All columns on the device."""
        return self._with([column.on_device(ops) for column in self.columns])

    def on_host(self, ops: Ops) -> Table:
        """All columns on the host."""
        return self._with([column.on_host(ops) for column in self.columns])

    def _with(self, columns: list[Column]) -> Table:
        x, y, *weights = columns
        return replace(self, x=x, y=y, weights=weights[0] if weights else None)


def given_table(network: Network, loss: Loss, what: str, x: Any, y: Any, sample_weight: Any = None) -> Table:
    """A table of what was given, where it lies; no value of it is read.

    Raises ShapeError for shapes and types that fit neither each other nor the network.
    """
    ops, dtype = network.ops, np.dtype(network.dtype)
    inputs = network.as_inputs(x)
    targets = as_targets(loss, ops.as_array(y), outputs=network.layer_sizes[-1])
    if len(targets) != len(inputs):
        raise ShapeError(
            f"the {what} has {len(targets)} targets for {len(inputs)} rows; give one target a row"
        )
    if len(inputs) == 0:
        raise ShapeError(f"the {what} has no rows; give at least one")
    weights = None
    if sample_weight is not None:
        weights = Column(as_weights(ops.as_array(sample_weight), rows=len(inputs)), dtype)
    return Table(what, Column(inputs, dtype), Column(targets, np.dtype(target_type(targets, dtype))), weights)


def check_values(ops: Ops, loss: Loss, table: Table, *, outputs: int, precision: str) -> None:
    """Read every value once, on the device where the table lies there and else on the host, a few rows at a time.

    Raises DataError or ShapeError for the first rows with a value that cannot be taken.
    """
    ops = ops if table.x.missing_bytes(ops) == 0 else numpy_ops()
    total = 0.0
    for rows in _blocks([column.array for column in table.columns]):
        _refuse_too_large(ops, table.what, table.x.rows(ops, rows), rows.start, precision)
        check_targets(ops, loss, table.y.rows(ops, rows), outputs=outputs)
        if table.weights is not None:
            weights = table.weights.rows(ops, rows)
            total += float(weights.sum()) if bool((weights >= 0).all()) else math.nan
    if table.weights is not None and not 0.0 < total < math.inf:
        raise DataError(
            "sample_weight holds a negative, NaN or infinite weight or nothing but zeros; "
            "give finite weights of at least 0"
        )


def _blocks(arrays: Sequence[Array]) -> Iterator[slice]:
    """The rows of all arrays, at most `ELEMENTS_AT_ONCE` elements of each but at least one row at a time."""
    rows = len(arrays[0])
    size = max(ELEMENTS_AT_ONCE * rows // max(array.size for array in arrays), 1)
    return (slice(start, start + size) for start in range(0, rows, size))


def _refuse_too_large(ops: Ops, what: str, x: Array, first: int, precision: str) -> None:
    """DataError names the first value that is none, or too large, of some rows of which `first` is the table's row."""
    half = precision == "fp16"
    fits = abs(x) < TOO_LARGE_FOR_HALF if half else ops.xp.isfinite(x)
    if bool(fits.all()):
        return
    row, column = (int(index) for index in np.argwhere(~ops.to_host(fits))[0])
    value = float(x[row, column])
    place = f"the {what} has {value} in row {first + row}, column {column}"
    if half and math.isfinite(value):
        raise DataError(f"{place}, beyond half precision's {LARGEST_HALF:.0f}; scale the inputs, or use bf16")
    raise DataError(f"{place}, as {x.dtype}; remove or replace values that are missing or too large")
