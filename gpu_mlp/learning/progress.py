"""How a run is followed on stderr: a bar on a terminal, ten lines off one."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch

__all__ = ["ProgressBar", "ProgressLines", "number", "progress_for"]

LINES = 10
# A first epoch of fewer seconds says nothing about the others: importing and compiling may be most of it.
TELLING = 10.0
# Columns of a terminal from which everything is shown, and below which neither bar nor rate fits.
WIDE, NARROW = 110, 72


def progress_for(console: Console, metric_name: str) -> Callback:
    """A bar where the console is a terminal that can redraw a line, else lines."""
    if console.is_terminal and not console.is_dumb_terminal:
        return ProgressBar(console, metric_name)
    return ProgressLines(console, metric_name)


def rate(rows_per_second: float) -> str:
    """Rows per second in about three digits: 950, 12.3k, 1.2M."""
    for factor, suffix in ((1e6, "M"), (1e3, "k")):
        if rows_per_second >= factor:
            return f"{rows_per_second / factor:.3g}{suffix} rows/s"
    return f"{rows_per_second:.0f} rows/s"


def number(value: float) -> str:
    """A metric or loss in four significant digits."""
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


def measures(run: RunView, epoch: Epoch, metric_name: str, *, wide: bool = True) -> str:
    """The losses and the metric of an epoch; the validation loss and the GPU only where there is room for them."""
    parts = [f"loss {number(epoch.loss)}"]
    if wide and epoch.validation_loss is not None:
        parts.append(f"validation loss {number(epoch.validation_loss)}")
    if epoch.validation_metric is not None:
        parts.append(f"{metric_name} {number(epoch.validation_metric)}")
    return ", ".join([*parts, *(_gpu(run.history.measures_of(epoch)) if wide else [])])


def _gpu(found: Mapping[str, float | str]) -> list[str]:
    """What the GPU did, in a few words: GPU 87 %, 12.1 GiB, 312 W."""
    parts = []
    for name, divisor, form in (
        ("gpu_utilisation_percent", 1.0, "GPU {:.0f} %"),
        ("gpu_memory_bytes", 2**30, "{:.1f} GiB"),
        ("gpu_power_watts", 1.0, "{:.0f} W"),
    ):
        if name in found:
            parts.append(form.format(float(found[name]) / divisor))
    throttled = found.get("gpu_throttled")
    return [*parts, f"slowed by {throttled}"] if throttled else parts


def _column(text: str) -> TextColumn:
    return TextColumn(text, table_column=Column(no_wrap=True))


class ProgressBar(Callback):
    """Epoch, bar, losses, metric, rows per second and the time that is left; less of it on a narrow terminal."""

    def __init__(self, console: Console, metric_name: str) -> None:
        self.metric_name = metric_name
        self.wide = console.width >= WIDE
        columns = [
            _column("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=30)),
            _column("{task.fields[measures]}"),
            _column("{task.fields[rate]}"),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _column("ETA"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
        ]
        if not self.wide:
            del columns[4]
        if console.width < NARROW:
            del columns[3], columns[1]
        self.progress = Progress(*columns, console=console, expand=True)

    def on_train_begin(self, run: RunView) -> None:
        """Show the bar."""
        self.task = self.progress.add_task(
            "", total=run.total_epochs * run.rows, epoch=0, epochs=run.total_epochs, measures="", rate=""
        )
        self.progress.start()

    def on_progress(self, run: RunView, rows_done: int) -> None:
        """Move it within an epoch."""
        self.progress.update(self.task, completed=len(run.history) * run.rows + rows_done)

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """Move it and say what the epoch came to."""
        self.progress.update(
            self.task,
            completed=epoch.epoch * run.rows,
            epoch=epoch.epoch,
            measures=measures(run, epoch, self.metric_name, wide=self.wide),
            rate=rate(epoch.rows_per_second),
        )

    def on_train_end(self, run: RunView) -> None:
        """Leave the bar as it is."""
        self.progress.stop()


class ProgressLines(Callback):
    """A line for the first epoch, for about every tenth part of the run, and for the last."""

    def __init__(self, console: Console, metric_name: str) -> None:
        self.console = console
        self.metric_name = metric_name
        self.last_shown = 0

    def on_train_begin(self, run: RunView) -> None:
        """Start the clock."""
        self.started = self.last_time = time.monotonic()

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """A line where one is due."""
        tenths, before = (LINES * number // run.total_epochs for number in (epoch.epoch, epoch.epoch - 1))
        if tenths > before or epoch.epoch == 1:
            self._line(run, epoch)

    def on_train_end(self, run: RunView) -> None:
        """The last epoch of a run that stopped early."""
        if len(run.history) and run.history[-1].epoch != self.last_shown:
            self._line(run, run.history[-1])

    def _line(self, run: RunView, epoch: Epoch) -> None:
        now, epochs_left = time.monotonic(), run.total_epochs - epoch.epoch
        elapsed = now - self.started
        parts = [measures(run, epoch, self.metric_name), rate(epoch.rows_per_second), f"{elapsed:.0f} s"]
        if epoch.epoch > 1 or not epochs_left or elapsed >= TELLING:
            # By the epochs since the last line: the mean since the start holds what happens only once.
            left = (now - self.last_time) / (epoch.epoch - self.last_shown) * epochs_left
            parts.append(f"ETA {left:.0f} s")
        else:
            del parts[1]
        self.console.print(f"epoch {epoch.epoch}/{run.total_epochs}: {', '.join(parts)}")
        self.last_shown, self.last_time = epoch.epoch, now
