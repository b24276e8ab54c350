"""What Ctrl-C does to a run: it ends after its epoch, so that what was learnt is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from rich.console import Console

from gpu_mlp.learning.callbacks import Callback, Epoch, RunView

__all__ = ["Interruption"]


class Interruption(Callback):
    """Ctrl-C ends the run after its epoch, so that what was learnt is saved; a second one ends it at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.interrupted = False
        self._told = False

    def __enter__(self) -> Self:
        self._previous: Any = signal.getsignal(signal.SIGINT)
        # Only Python's own reaction is replaced, and only the main thread can do it.
        self._installed = (
            self._previous is signal.default_int_handler
            and threading.current_thread() is threading.main_thread()
        )
        if self._installed:
            signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, self._previous)

    def on_progress(self, run: RunView, rows_done: int) -> None:
        """Say what is going on."""
        if self.interrupted and not self._told:
            self._told = True
            self.console.print(
                "interrupted: finishing the epoch to save what was learnt; "
                "Ctrl-C again stops at once, without saving"
            )

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """Stop where Ctrl-C was pressed."""
        if self.interrupted:
            run.stop("interrupted")
