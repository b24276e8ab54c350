"""`SourceEpochs`: the steps of an epoch on rows that are read while it runs, shuffled a buffer at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.learning.randomness import buffer_order
from gpu_mlp.learning.row_source import Buffer, BufferReader, RowSource
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.steps.after import Told
from gpu_mlp.learning.streaming import CHUNK_BYTES, TableStream

__all__ = ["BUFFER_ROWS", "SourceEpochs", "source_order"]

# Rows that are shuffled together where nobody says how many.
BUFFER_ROWS = 65536
SECONDS_BETWEEN_REPORTS = 0.1


def source_order(seed: int, epoch: int, rows: int, buffer_rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Which rows come when in an epoch, (N,): each buffer of rows in an order of its own, one after the other."""
    starts = range(0, rows, buffer_rows)
    parts = [
        start + buffer_order(seed, epoch, number, min(buffer_rows, rows - start))
        for number, start in enumerate(starts)
    ]
    return np.concatenate(parts)


class SourceEpochs:
    """Epochs of a step on a source.

    Args:
        step: whose steps they are.
        source: the rows.
        buffer_rows: how many are shuffled together, in whole batches; three buffers are in memory at once.
        seed: of the order, or None for that of the source.
    """

    def __init__(self, step: TrainingStep, source: RowSource, buffer_rows: int, seed: int | None) -> None:
        self.step, self.rows, self.done = step, source.rows, 0
        self.steps_per_epoch = -(-self.rows // step.batch_size)
        self.buffer_rows = max(buffer_rows // step.batch_size, 1) * step.batch_size
        step.room_for(self.rows - (self.steps_per_epoch - 1) * step.batch_size)  # of the last batch
        self.bytes_to_come = 2 * CHUNK_BYTES
        self._source, self._seed = source, seed
        self._losses: Array = step.network.ops.xp.zeros(self.steps_per_epoch, step.network.dtype)
        self._reader: BufferReader | None = None
        self._buffer: Buffer | None = None
        self._stream: TableStream | None = None

    def begin(self, number: int, losses: Array | None = None) -> None:
        """Epoch `number`, or the rest of it after the steps with these losses."""
        self.close()
        self.done = 0 if losses is None else len(losses)
        if losses is not None:
            self._losses[: self.done] = self.step.network.ops.to_device(losses)
        self._buffer = None
        network, loss = self.step.network, self.step.loss
        skip = self.done * self.step.batch_size // self.buffer_rows
        self._reader = BufferReader(
            network,
            loss,
            self._source,
            self.buffer_rows,
            partial(self._order, number),
            skip=skip,
            precision=self.step.precision,
        )

    def run(
        self,
        learning_rates: Sequence[float],
        report: Callable[[int], None] | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """The next steps of the epoch, one for each learning rate, as `EpochRunner.run`."""
        first, batch_size = self.done, self.step.batch_size
        next_report = time.perf_counter() + SECONDS_BETWEEN_REPORTS

        def after(steps: int) -> bool:
            nonlocal next_report
            self.done = first + steps
            if report is not None and time.perf_counter() >= next_report:
                next_report = time.perf_counter() + SECONDS_BETWEEN_REPORTS
                report(min(self.done * batch_size, self.rows))
            return enough()

        told = Told(after)
        last = first + len(learning_rates)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            while self.done < last and not told.enough:
                buffer = self._buffer_of(self.done)
                start = self.done - buffer.first // batch_size  # steps of the buffer that are done
                steps = min(-(-len(buffer.table) // batch_size), last - self.done + start) - start
                rates = learning_rates[self.done - first : self.done - first + steps]
                order = buffer.order[start * batch_size :]
                losses = self._losses[self.done : self.done + steps]
                self._steps(buffer, order, rates, losses, told.counting_from(self.done - first))
        if self.done == self.steps_per_epoch and self._reader is not None:
            self._reader.next()  # raises where the source goes on
            self.close()

    def losses(self) -> np.ndarray[Any, Any]:
        """Of every step done in the epoch, on the host; waits for the device."""
        on_host: np.ndarray[Any, Any] = self.step.network.ops.to_host(self._losses[: self.done])
        return on_host

    def mean_loss(self, losses: np.ndarray[Any, Any]) -> float:
        """The mean over the epoch's batches, each with its number of rows."""
        sizes = np.full(len(losses), self.step.batch_size, np.float64)
        sizes[-1] = self.rows - (self.steps_per_epoch - 1) * self.step.batch_size
        return float(np.average(losses.astype(np.float64), weights=sizes))

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.close()
            self._reader = self._buffer = None

    def _buffer_of(self, step: int) -> Buffer:
        """The one that a step of the epoch reads."""
        number = step * self.step.batch_size // self.buffer_rows
        while self._buffer is None or self._buffer.number < number:
            assert self._reader is not None
            self._buffer = self._reader.next()
            assert self._buffer is not None  # a source with fewer rows raises
        return self._buffer

    def _order(self, epoch: int, buffer: int, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        if self._seed is None:
            return np.arange(rows, dtype=np.int64)
        return buffer_order(self._seed, epoch, buffer, rows)

    def _steps(
        self,
        buffer: Buffer,
        order: Array,
        rates: Sequence[float],
        losses: Array,
        after: Callable[[int], bool | None],
    ) -> None:
        ops = self.step.network.ops
        if ops.device == "cpu":
            self.step.run_steps(buffer.table.on_device(ops).arrays, order, rates, losses, after)
            return
        if self._stream is None:
            most = min(self.buffer_rows, self.rows)
            self._stream = TableStream(ops, buffer.table, self.step.batch_size, most_rows=most)
        self._stream.read(buffer.table)
        self._stream.run_steps(self.step, order, rates, losses, after)
