"""`EpochRunner`: the steps of an epoch on one table, wherever it lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.learning.placement import place_table
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.streaming import TableStream
from gpu_mlp.learning.tables import Table

__all__ = ["EpochRunner"]

SECONDS_BETWEEN_REPORTS = 0.1
# What an epoch takes on the device beside a table there: the order, and it once more in a captured step; and the clocks
# of a captured step, which are moved there and then copied.
ORDER_BYTES_OF_ROW = 2 * 8
CLOCK_BYTES_OF_STEP = 2 * 64


class EpochRunner:
    """Epochs of a step on a table, which is placed on the device or streamed from the host.

    Args:
        step: whose steps they are; its memory is allocated before the table's.
        table: the rows, `learning.tables.given_table`.
        stream: "auto", "always" or "never", as in `TrainingConfig`.

    `bytes_to_come` is how much of the device's memory the first epoch takes.

    Raises DataError or ShapeError for values that cannot be taken, DeviceError where "never" leaves no room.
    """

    def __init__(self, step: TrainingStep, table: Table, stream: str) -> None:
        network = step.network
        self.step, self.rows = step, len(table)
        self.steps_per_epoch = -(-self.rows // step.batch_size)
        step.room_for(self.rows - (self.steps_per_epoch - 1) * step.batch_size)  # of the last batch
        self._losses: Array = network.ops.xp.zeros(self.steps_per_epoch, network.dtype)
        more = ORDER_BYTES_OF_ROW * self.rows + CLOCK_BYTES_OF_STEP * self.steps_per_epoch
        self.table, streamed = place_table(
            network, step.loss, table, stream, precision=step.precision, more_bytes=more
        )
        self.bytes_to_come = 0 if streamed else more
        self.done = 0  # steps of the epoch
        self._stream = TableStream(network.ops, self.table, step.batch_size) if streamed else None
        weights = self.table.weights
        self._weights: Array | None = None
        if weights is not None:
            self._weights = network.ops.to_host(weights.array).astype(weights.dtype, copy=False)

    def begin(self, order: Array, *, losses: Array | None = None) -> None:
        """A new epoch: order (N,) on the host says which rows come when. losses: of steps that were done before."""
        ops = self.step.network.ops
        self._order = order if self._stream is not None else ops.to_device(order)
        self.done = 0 if losses is None else len(losses)
        if losses is not None:
            self._losses[: self.done] = ops.to_device(losses)

    def run(
        self,
        learning_rates: Sequence[float],
        report: Callable[[int], None] | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """The next steps of the epoch, one for each learning rate; `done` counts them.

        A few times a second `report` hears of the rows done so far. `enough` is asked after every step or launch, and
        leaves the rest by saying yes.
        """
        first, batch_size = self.done, self.step.batch_size
        losses = self._losses[first : first + len(learning_rates)]
        next_report = time.perf_counter() + SECONDS_BETWEEN_REPORTS

        def after(steps: int) -> bool:
            nonlocal next_report
            self.done = first + steps
            if report is not None and time.perf_counter() >= next_report:
                next_report = time.perf_counter() + SECONDS_BETWEEN_REPORTS
                report(min(self.done * batch_size, self.rows))
            return enough()

        order = self._order[first * batch_size :]
        # Whoever wants to know looks for overflow in the losses.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self._stream is None:
                self.step.run_steps(self.table.arrays, order, learning_rates, losses, after)
            else:
                self._stream.run_steps(self.step, order, learning_rates, losses, after)

    def losses(self) -> np.ndarray[Any, Any]:
        """Of every step done in the epoch, on the host; waits for the device."""
        on_host: np.ndarray[Any, Any] = self.step.network.ops.to_host(self._losses[: self.done])
        return on_host

    def mean_loss(self, losses: np.ndarray[Any, Any], order: Array) -> float:
        """The mean over the epoch's batches, each with the weight of its rows."""
        return float(np.average(losses.astype(np.float64), weights=self._batch_weights(order)[1]))

    def mean_of_batches(self, values: np.ndarray[Any, Any], order: Array) -> np.ndarray[Any, Any]:
        """The mean over every batch of values (N,) in that order, each row with its weight."""
        per_row, per_batch = self._batch_weights(order)
        means: np.ndarray[Any, Any] = np.add.reduceat(values * per_row, self._starts()) / per_batch
        return means

    def _batch_weights(self, order: Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The weight of every row in that order, and of every batch."""
        per_row = np.ones(self.rows) if self._weights is None else self._weights[order].astype(np.float64)
        return per_row, np.add.reduceat(per_row, self._starts())

    def _starts(self) -> np.ndarray[Any, Any]:
        return np.arange(0, self.rows, self.step.batch_size)
