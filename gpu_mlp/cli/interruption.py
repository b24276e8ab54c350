"""What Ctrl-C and a request to end do to a run: it ends after its step, so that what was learnt is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from rich.console import Console

from gpu_mlp.learning.callbacks import Callback, PausableRun, RunView

__all__ = ["Interruption"]

# Only the system's own reactions are replaced.
REPLACED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption(Callback):
    """SIGINT or SIGTERM ends the run after its step, so that what was learnt is saved; a second one ends it at once.

    `received` is the signal's number, or 0.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.received = 0
        self._run: RunView | None = None
        self._previous: dict[int, Any] = {}

    @property
    def interrupted(self) -> bool:
        """Whether a signal came."""
        return self.received != 0

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that a signal ended."""
        return 128 + self.received if self.received else 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # only which can do it
            for number, reaction in REPLACED.items():
                if signal.getsignal(number) is reaction:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, reaction in self._previous.items():
            signal.signal(number, reaction)
        self._previous = {}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        if self._run is not None:
            self._stop(self._run)

    def on_train_begin(self, run: RunView) -> None:
        """Know whom to stop."""
        self._run = run
        if self.received:
            self._stop(run)

    def on_pause(self, run: PausableRun) -> None:
        """Say what is going on."""
        if self.received:
            self.console.print(
                "interrupted after a step: saving what was learnt; a second signal stops at once, without saving"
            )

    def _stop(self, run: RunView) -> None:
        if isinstance(run, PausableRun):
            run.stop("interrupted", at_once=True)
        else:
            run.stop("interrupted")
