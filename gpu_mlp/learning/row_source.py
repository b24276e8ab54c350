"""`RowSource`: rows that are read in their order as often as asked, and the buffers in which an epoch shuffles them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError, ShapeError
from gpu_mlp.learning.tables import Table, check_values, given_table
from gpu_mlp.network.network import Network

__all__ = ["Buffer", "BufferReader", "RowSource"]

SECONDS_BETWEEN_LOOKS = 0.1


@runtime_checkable
class RowSource(Protocol):
    """A table that may be larger than memory.

    Attributes:
        rows: N, the same each time that it is read.
    """

    @property
    def rows(self) -> int: ...

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """All rows from the first on, some at a time: x (n, D_0), and y (n,) or (n, O), on the host."""


@dataclass
class Buffer:
    """Rows that follow one another in the source, in memory: those from `first` on, and in which order they train."""

    number: int
    first: int
    table: Table
    order: np.ndarray[Any, np.dtype[np.int64]]


class BufferReader:
    """Reads one pass over a source ahead, in a thread of its own: while one buffer is trained on another is filled.

    Args:
        network: whose inputs they are.
        loss: whose targets they are.
        source: the rows.
        size: of a buffer, in rows.
        order: of a buffer's rows, by its number and theirs.
        skip: how many buffers are passed over at the start.
        precision: as in `TrainingConfig`.

    `next` raises what the source raises, and DataError for values that cannot be taken or where the source has not as
    many rows as it said. `close` ends the thread.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        source: RowSource,
        size: int,
        order: Callable[[int, int], np.ndarray[Any, np.dtype[np.int64]]],
        *,
        skip: int = 0,
        precision: str = "auto",
    ) -> None:
        self._network, self._loss, self._source, self._precision = network, loss, source, precision
        self._size, self._skip, self._order = size, skip, order
        # One is trained on, one waits here, and one is being filled: the thread waits before it fills a fourth.
        self._filled: Queue[Buffer | BaseException | None] = Queue(maxsize=1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gpu_mlp-reader", daemon=True)
        self._thread.start()

    def next(self) -> Buffer | None:
        """The next buffer, or None after the last."""
        filled = self._filled.get()
        if isinstance(filled, BaseException):
            raise filled
        return filled

    def close(self) -> None:
        """Stop reading; waits for the block that is being read."""
        self._over.set()
        while self._thread.is_alive():
            try:
                self._filled.get(timeout=0.01)
            except Empty:
                continue

    def _work(self) -> None:
        try:
            for buffer in self._buffers():
                if not self._hand_over(buffer):
                    return
            self._hand_over(None)
        except BaseException as error:
            self._hand_over(error)

    def _hand_over(self, what: Buffer | BaseException | None) -> bool:
        """False where nobody wants it any more."""
        while not self._over.is_set():
            try:
                self._filled.put(what, timeout=SECONDS_BETWEEN_LOOKS)
            except Full:
                continue
            return True
        return False

    def _buffers(self) -> Iterator[Buffer]:
        size, rows, number, read = self._size, self._source.rows, 0, 0
        filling = _Filling(min(size, rows))
        for block in self._source.blocks():
            read += len(block[0])
            if read > rows:
                break
            while len(block[0]):
                block = filling.take(block)
                if filling.filled < filling.size:
                    continue
                if number >= self._skip:
                    table = self._table(filling.arrays[0], filling.arrays[1], number * size)
                    yield Buffer(number, number * size, table, self._order(number, len(table)))
                    del table
                number += 1
                filling = _Filling(min(size, rows - number * size))
        if read != rows:
            raise DataError(
                f"the source has {'more than ' if read > rows else ''}{min(read, rows)} rows now, but had {rows}; "
                "leave it as it is while it is trained on"
            )

    def _table(self, x: Array, y: Array, first: int) -> Table:
        """In the types that a step reads; the places of bad values are the source's."""
        what = f"block of the source from row {first} on" if first else "source"
        with np.errstate(over="ignore"):  # what overflows the type is refused
            table = given_table(self._network, self._loss, what, x, y).on_host(self._network.ops)
            outputs = self._network.layer_sizes[-1]
            check_values(numpy_ops(), self._loss, table, outputs=outputs, precision=self._precision)
        return table


class _Filling:
    """A buffer that blocks are copied into, so that no block outlives its turn."""

    def __init__(self, size: int) -> None:
        self.size, self.filled = size, 0
        self.arrays: list[Array] = []

    def take(self, block: Sequence[Array]) -> tuple[Array, Array]:
        """Copy the first rows of x and y, as many as there is room for; the rest.

        Raises ShapeError for blocks whose shapes do not go together.
        """
        rows = min(self.size - self.filled, len(block[0]))
        if not self.arrays:
            self.arrays = [np.empty((self.size, *each.shape[1:]), each.dtype) for each in block]
        shapes = [(len(block[0]), *array.shape[1:]) for array in self.arrays]
        if [each.shape for each in block] != shapes:
            raise ShapeError(
                f"the source gives a block of shapes {[each.shape for each in block]}, but {shapes} were expected; "
                "give as many targets as rows, and all blocks the same columns"
            )
        for at, each in enumerate(block):
            self.arrays[at] = _widened(self.arrays[at], each)
            self.arrays[at][self.filled : self.filled + rows] = each[:rows]
        self.filled += rows
        x, y = block
        return x[rows:], y[rows:]


def _widened(array: Array, block: Array) -> Array:
    """In a type that has room for the values of both."""
    return array if array.dtype == block.dtype else array.astype(np.result_type(array, block), copy=False)
