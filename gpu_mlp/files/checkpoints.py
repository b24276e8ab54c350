"""`Checkpoints`: a callback that saves where the run stands every so many minutes or steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gpu_mlp.config import check_range
from gpu_mlp.errors import ConfigError
from gpu_mlp.files.run_folder import RunFolder
from gpu_mlp.learning.callbacks import Callback, PausableRun, RunView
from gpu_mlp.learning.history import Epoch

__all__ = ["Checkpoints", "check_intervals"]


def check_intervals(minutes: float | None, steps: int | None) -> None:
    """Raise ConfigError where one of them is no interval."""
    if minutes is not None:
        check_range("checkpoint_minutes", minutes, low=0.0, low_open=True)
    if steps is not None:
        check_range("checkpoint_steps", steps, low=1, whole=True)


class Checkpoints(Callback):
    """Saves after `minutes` and after `steps` steps since the last time, and where the run is stopped within an epoch.

    Args:
        folder: of the run, which this process holds.
        description: plain data that is kept beside the state, to tell whether another run may go on from it.
        minutes: None for never.
        steps: None for never. An epoch's last step is saved after its validation.
    """

    def __init__(
        self,
        folder: RunFolder,
        description: Mapping[str, Any],
        *,
        minutes: float | None = 10.0,
        steps: int | None = None,
    ) -> None:
        check_intervals(minutes, steps)
        self._folder, self._description = folder, description
        self._seconds = None if minutes is None else 60.0 * minutes
        self._steps = steps
        self._saved_at, self._saved_step = time.monotonic(), 0

    def on_train_begin(self, run: RunView) -> None:
        """Raises ConfigError for a run that cannot be held."""
        if not isinstance(run, PausableRun):
            raise ConfigError(
                "checkpoints are saved of gpu_mlp.train's runs; leave them out of an estimator's callbacks"
            )
        self._saved_at, self._saved_step = time.monotonic(), run.steps_done
        self._ask_for_next(run)

    def on_progress(self, run: RunView, rows_done: int) -> None:
        """Hold the run soon where the time is over."""
        if self._is_time() and isinstance(run, PausableRun):
            run.pause()

    def on_pause(self, run: PausableRun) -> None:
        """Save, whoever held the run."""
        if run.steps_done > self._saved_step:
            self._save(run)

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """Save where it is due."""
        steps_over = self._steps is not None and epoch.step - self._saved_step >= self._steps
        if (steps_over or self._is_time()) and isinstance(run, PausableRun):
            self._save(run)

    def _save(self, run: PausableRun) -> None:
        state = run.state()
        self._folder.save_checkpoint(state, self._description)
        self._saved_at, self._saved_step = time.monotonic(), state.steps
        self._ask_for_next(run)

    def _ask_for_next(self, run: PausableRun) -> None:
        if self._steps is not None:
            run.pause(self._saved_step + self._steps)

    def _is_time(self) -> bool:
        return self._seconds is not None and time.monotonic() - self._saved_at >= self._seconds
