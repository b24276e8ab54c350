"""`RowSource`: rows that are read in their order as often as asked, and the buffers in which an epoch shuffles them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError
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
    """Rows that follow one another in the source, in memory: those from `first` on."""

    number: int
    first: int
    table: Table


class BufferReader:
    """Reads one pass over a source ahead, in a thread of its own: while one buffer is trained on another is filled.

    Args:
        network: whose inputs they are.
        loss: whose targets they are.
        source: the rows.
        size: of a buffer, in rows.
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
        *,
        skip: int = 0,
        precision: str = "auto",
    ) -> None:
        self._network, self._loss, self._source, self._precision = network, loss, source, precision
        self._size, self._skip = size, skip
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
        parts: list[tuple[Array, Array]] = []
        waiting = 0
        for x, y in self._source.blocks():
            read += len(x)
            if read > rows:
                break
            parts.append((x, y))
            waiting += len(x)
            while waiting >= size or (read == rows and waiting):
                taken, parts = _split(parts, min(size, waiting))
                waiting -= min(size, waiting)
                if number >= self._skip:
                    yield Buffer(number, number * size, self._table(taken, number * size))
                number += 1
        if read != rows:
            raise DataError(
                f"the source has {'more than ' if read > rows else ''}{min(read, rows)} rows now, but had {rows}; "
                "leave it as it is while it is trained on"
            )

    def _table(self, parts: list[tuple[Array, Array]], first: int) -> Table:
        """One array of each kind, in the types that a step reads; the places of bad values are the source's."""
        x, y = (
            np.concatenate(columns) if len(columns) > 1 else columns[0]
            for columns in zip(*parts, strict=True)
        )
        what = f"block of the source from row {first} on" if first else "source"
        with np.errstate(over="ignore"):  # what overflows the type is refused
            table = given_table(self._network, self._loss, what, x, y).on_host(self._network.ops)
            outputs = self._network.layer_sizes[-1]
            check_values(numpy_ops(), self._loss, table, outputs=outputs, precision=self._precision)
        return table


def _split(parts: list[tuple[Array, Array]], rows: int) -> tuple[list[Any], list[Any]]:
    """The first rows of all parts, and what is left."""
    taken: list[Any] = []
    for index, (x, y) in enumerate(parts):
        if len(x) > rows:
            return [*taken, *([(x[:rows], y[:rows])] if rows else [])], [
                (x[rows:], y[rows:]),
                *parts[index + 1 :],
            ]
        taken.append((x, y))
        rows -= len(x)
    return taken, []
