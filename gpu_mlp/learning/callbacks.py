"""What a training run tells its listeners, and early stopping."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from gpu_mlp.backends.base import Array
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.state import TrainingState

__all__ = ["Callback", "EarlyStopping", "PausableRun", "RunView"]


class RunView(Protocol):
    """What a callback sees of the run it listens to."""

    total_epochs: int
    rows: int
    history: History

    def stop(self, reason: str) -> None:
        """End the run after the current epoch."""


@runtime_checkable
class PausableRun(Protocol):
    """A run that can be held between two steps: `gpu_mlp.train`'s."""

    total_epochs: int
    rows: int
    history: History

    @property
    def steps_done(self) -> int:
        """Since the start of the run."""

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """End the run after the current epoch, or within it after the current step."""

    def pause(self, step: int | None = None) -> None:
        """Call `on_pause` of all callbacks between two steps: soon, or once `step` steps of the run are done."""

    def state(self) -> TrainingState:
        """All that the run is now; to be asked for in `on_pause` and `on_epoch_end`."""


class Callback:
    """Listens to a run; override what is of interest."""

    def on_train_begin(self, run: RunView) -> None:
        """Before the first step."""

    def on_progress(self, run: RunView, rows_done: int) -> None:
        """A few times a second within an epoch, after `rows_done` of its rows."""

    def on_pause(self, run: PausableRun) -> None:
        """Between two steps, where somebody asked for it or stopped the run at once, before its last epoch was done."""

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """After every epoch and its validation; `run.stop(reason)` ends the run."""

    def on_train_end(self, run: RunView) -> None:
        """After the last epoch, with the final weights in place; also where the run ends in an error."""


class EarlyStopping:
    """Stops once the monitored loss has not fallen by `min_delta` for `patience` epochs; restores the best weights."""

    def __init__(self, patience: int, min_delta: float, parameters: Array) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.best_epoch = 0
        self._parameters = parameters
        self.best = parameters.copy()

    def should_stop(self, epoch: Epoch) -> bool:
        """Take note of an epoch. NaN, as where a validation row overflows, is worse than any other loss."""
        loss = math.inf if math.isnan(epoch.monitored) else epoch.monitored
        if loss < self.best_loss - self.min_delta or self.best_epoch == 0:
            self.best_loss, self.best_epoch = loss, epoch.epoch
            self.best[...] = self._parameters
        return self.is_over(epoch.epoch)

    def is_over(self, epochs: int) -> bool:
        """Whether no epoch should follow after so many."""
        return self.best_epoch > 0 and epochs - self.best_epoch >= self.patience

    def restore(self) -> None:
        """Put the best epoch's weights back."""
        self._parameters[...] = self.best
