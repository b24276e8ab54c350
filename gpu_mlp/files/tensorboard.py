"""`TensorBoard`: a callback that writes every epoch's measures as TensorBoard reads them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu_mlp.errors import ConfigError
from gpu_mlp.learning.callbacks import Callback, PausableRun, RunView
from gpu_mlp.learning.history import Epoch

__all__ = ["TensorBoard", "check_tensorboard"]

SCALARS = {
    "loss/training": "loss",
    "loss/validation": "validation_loss",
    "validation_metric": "validation_metric",
    "learning_rate": "learning_rate",
    "rows_per_second": "rows_per_second",
}


def check_tensorboard() -> None:
    """Raise ConfigError where the package that writes the files is not installed."""
    if find_spec("tensorboardX") is None:
        raise ConfigError(
            "writing for TensorBoard needs tensorboardX, which is not installed; "
            "install it with pip install 'gpu_mlp[tensorboard]'"
        )


class TensorBoard(Callback):
    """Scalars by the number of steps: losses, the validation metric, the learning rate, the speed, and telemetry.

    Args:
        folder: of the event files; `tensorboard --logdir` shows those of several runs together.
    """

    def __init__(self, folder: str | Path) -> None:
        check_tensorboard()
        self._folder = Path(folder)
        self._writer: Any = None

    def on_train_begin(self, run: RunView) -> None:
        """Open a file; what another process wrote after the step that this one goes on from does not count."""
        from tensorboardX import SummaryWriter

        done = run.steps_done if isinstance(run, PausableRun) else 0
        self._writer = SummaryWriter(str(self._folder), purge_step=done + 1 if done else None)

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """Write what was measured."""
        for name, attribute in SCALARS.items():
            value = getattr(epoch, attribute)
            if value is not None:
                self._writer.add_scalar(name, value, epoch.step)
        for name, measure in run.history.measures_of(epoch).items():
            if not isinstance(measure, str):
                self._writer.add_scalar(f"telemetry/{name}", measure, epoch.step)
        self._writer.flush()

    def on_train_end(self, run: RunView) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
