"""`TableEpochs`: the epochs of `train` on a table, in an order drawn for each from the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.learning.epochs import EpochRunner
from gpu_mlp.learning.randomness import epoch_order

__all__ = ["Epochs", "TableEpochs"]


class Epochs(Protocol):
    """What `train` asks of the rows, wherever they come from."""

    rows: int
    steps_per_epoch: int
    bytes_to_come: int  # of the device's memory, in the first epoch

    @property
    def done(self) -> int:
        """Steps of the epoch."""

    def begin(self, number: int, losses: Array | None = None) -> None:
        """Epoch `number`, or the rest of it after the steps with these losses."""

    def run(
        self,
        learning_rates: Sequence[float],
        report: Callable[[int], None] | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """The next steps, one for each learning rate; see `EpochRunner.run`."""

    def losses(self) -> np.ndarray[Any, Any]:
        """Of every step done in the epoch, on the host."""

    def mean_loss(self, losses: np.ndarray[Any, Any]) -> float:
        """The mean over the epoch's batches, each with the weight of its rows."""

    def close(self) -> None:
        """No epoch follows."""


class TableEpochs:
    """Epochs on a table that an `EpochRunner` has. seed: of the orders, or None for that of the table."""

    def __init__(self, runner: EpochRunner, seed: int | None) -> None:
        self.rows, self.steps_per_epoch = runner.rows, runner.steps_per_epoch
        self.bytes_to_come = runner.bytes_to_come
        self._runner, self._seed = runner, seed
        self._order: Array = np.arange(self.rows, dtype=np.int64)
        self.run, self.losses = runner.run, runner.losses

    @property
    def done(self) -> int:
        """Steps of the epoch."""
        return self._runner.done

    def begin(self, number: int, losses: Array | None = None) -> None:
        """Epoch `number`, or the rest of it after the steps with these losses."""
        if self._seed is not None:
            self._order = epoch_order(self._seed, number, self.rows)
        self._runner.begin(self._order, losses=losses)

    def mean_loss(self, losses: np.ndarray[Any, Any]) -> float:
        """The mean over the epoch's batches, each with the weight of its rows."""
        return self._runner.mean_loss(losses, self._order)

    def close(self) -> None:
        """Nothing to be done."""
