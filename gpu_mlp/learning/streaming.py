"""The steps of an epoch on a table that stays on the host: the next rows are gathered while the last ones train.

Rows come in chunks, several steps long, through two slots in turn. A slot is memory on the host, from which a device
copies while the host goes on, and as much on the device. The three that work at once, and what each waits for before
it does chunk n, whose slot chunk n - 2 had before:

    the host gathers n       once chunk n - 2 was copied: its memory on the host is free again
    the copies move n        once the steps of n - 2 are done: its memory on the device is free again
    the device trains on n   once chunk n was copied

The host needs no thread of its own for that. It launches the steps of chunk n, which returns before they are done, and
gathers chunk n + 1 meanwhile; the copy of n + 1 needs only that the steps of n - 1 are done, so it runs beside those
of n. Where launches return when they are done, as on the CPU, one comes after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.graphs_and_copies import Mark
from gpu_mlp.backends.numpy_backend import gather_rows
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.steps.after import After, Told
from gpu_mlp.learning.steps.cuda_graph import STEPS_A_LAUNCH
from gpu_mlp.learning.tables import Table
from gpu_mlp.network.sparse_rows import SparseRows

__all__ = ["TableStream"]

# Of a chunk, in whole steps and at least one: much longer to copy than to launch, and little beside a device's memory.
CHUNK_BYTES = 2**25
# Of what is converted at once, to find it in the cache again.
ELEMENTS_AT_ONCE = 1 << 17


@dataclass
class _Slot:
    """Memory for one chunk, and what happened to it last."""

    host: list[Array]  # for every column (R,) or (R, D), on the host
    device: tuple[Array, Array, Array | None]  # x, y and weights on the device; always the same tuple
    copied: Mark  # from host to device
    used: Mark  # by the steps, on the device


class TableStream:
    """Trains on the rows of a table on the host, whose columns are never copied or converted whole."""

    def __init__(self, ops: Ops, table: Table, batch_size: int, *, most_rows: int | None = None) -> None:
        self._columns = table.columns
        self._copies = ops.open_copies()
        self._steps = _steps_a_chunk(table.nbytes // len(table) * batch_size)
        self._rows = min(self._steps * batch_size, most_rows or len(table))
        self._order: Array = ops.xp.arange(self._rows, dtype=np.int64)  # a chunk's rows lie in their order
        self._slots = [self._slot(ops), self._slot(ops)]

    def _slot(self, ops: Ops) -> _Slot:
        shapes = [(self._rows, *column.array.shape[1:]) for column in self._columns]
        types = [column.dtype for column in self._columns]
        host = [self._copies.host_memory(*each) for each in zip(shapes, types, strict=True)]
        x, y, *weights = (ops.xp.empty(*each) for each in zip(shapes, types, strict=True))
        # The device's memory may be in use by work that was launched before somebody gave it up.
        begun = self._copies.computed()
        return _Slot(host, (x, y, weights[0] if weights else None), copied=begun, used=begun)

    def read(self, table: Table) -> None:
        """Train on another table from now on, with columns of the same kind and at most `most_rows` rows."""
        self._columns = table.columns

    def run_steps(
        self,
        step: TrainingStep,
        order: np.ndarray[Any, np.dtype[np.int64]],
        learning_rates: Sequence[float],
        losses: Array,
        after: After,
    ) -> None:
        """As `TrainingStep.run_steps`, with order (N,) on the host."""
        stop = min(len(learning_rates) * step.batch_size, len(order))
        chunks = [order[at : min(at + self._rows, stop)] for at in range(0, stop, self._rows)]
        copies, slots, told = self._copies, self._slots, Told(after)
        try:
            self._fill(slots[0], chunks[0])
            for number, index in enumerate(chunks):
                slot = slots[number % 2]
                first = number * self._steps
                part = slice(first, first + self._steps)
                copies.hold_computing(slot.copied)
                order_here, tell = self._order[: len(index)], told.counting_from(first)
                step.run_steps(slot.device, order_here, learning_rates[part], losses[part], tell)
                slot.used = copies.computed()
                if told.enough:
                    break
                if number + 1 < len(chunks):
                    self._fill(slots[(number + 1) % 2], chunks[number + 1])
        except BaseException:  # nobody may get this memory while a copy still reads or writes it
            for slot in slots:
                copies.wait_here(slot.copied)
            raise

    def _fill(self, slot: _Slot, index: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Gather the rows `index` on the host, and begin to copy them to the device."""
        self._copies.wait_here(slot.copied)
        count = len(index)
        host = [memory[:count] for memory in slot.host]
        for column, memory in zip(self._columns, host, strict=True):
            _gather(column.array, index, memory)
        device = [memory[:count] for memory in slot.device if memory is not None]
        slot.copied = self._copies.start(list(zip(host, device, strict=True)), slot.used)


def _steps_a_chunk(step_bytes: int) -> int:
    """Whole launches of a captured epoch, where a step is so small that a chunk has several."""
    steps = max(CHUNK_BYTES // max(step_bytes, 1), 1)
    return steps - steps % STEPS_A_LAUNCH if steps > STEPS_A_LAUNCH else steps


def _gather(rows: Array | SparseRows, index: Array, out: Array) -> None:
    """out_b = rows[index_b] in out's type: rows (N, D) or (N,) of any layout and type, index (B,)."""
    if isinstance(rows, SparseRows):
        rows.gather(index, out)
        return
    flags = rows.flags
    if rows.dtype == out.dtype and flags.c_contiguous and flags.aligned:
        gather_rows(rows, index, out)
        return
    # `take` would make a contiguous copy of all rows first.
    size = max(ELEMENTS_AT_ONCE * len(out) // out.size, 1)
    for at in range(0, len(index), size):
        out[at : at + size] = rows[index[at : at + size]]
