"""What a device does on its own time: replay a captured step, and copy from the host while it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np

from gpu_mlp.backends.records import Array

__all__ = ["Captured", "Copies", "Graphs", "Mark"]

# Launches what was captured.
Captured: TypeAlias = Callable[[], None]


class Graphs(Protocol):
    """What a backend that can capture a step gives `learning.steps.cuda_graph`.

    The clock is the backend's own device memory that tells its kernels which step it is: the step of the dropout masks,
    from 0, and seven numbers made of the learning rate and the optimizer's constants.
    """

    def clock_row(self, optimizer: str, learning_rate: float, step: int, **constants: float) -> list[float]:
        """The eight numbers of step `step`, which counts from 1."""

    def set_clock(self, row: Sequence[float]) -> None:
        """Show the numbers of the step that is launched next."""

    def held_clock(self) -> AbstractContextManager[None]:
        """Inside, primitives leave the clock as it is."""

    def load_clock(self, table: Array, position: Array) -> None:
        """The clock <- table[position]: table (S, 8) float64, position () int64."""

    def gather_batch(self, rows: Array, order: Array, position: Array, out: Array, batch: int) -> None:
        """out_b = rows[order[position batch + b]]: rows (N, D) or (N,), order (S batch,), out (B, D) or (B,)."""

    def end_step(self, loss: Array, losses: Array, position: Array) -> None:
        """losses[position] = loss, then position + 1."""

    def capture(self, work: Callable[[], None]) -> Captured:
        """Record the launches of `work`, which are not run; raises what the driver raises where one cannot be."""


# A point in a stream's work, an event: reached when all that was asked for before it is done.
Mark: TypeAlias = Any


class Copies(Protocol):
    """Copies from the host that run beside the computing, in order on a stream of their own.

    Nothing here waits but `wait_here`. Whoever starts a copy keeps both its arrays, and leaves the host's as it is
    until the copy's mark is reached.
    """

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Host memory that the device reads while the host goes on: page-locked."""

    def start(self, pairs: Sequence[tuple[np.ndarray[Any, Any], Array]], after: Mark) -> Mark:
        """Copy every host array into its device array once `after` is reached; the mark of the last one's end."""

    def computed(self) -> Mark:
        """The end of all computing that was launched so far."""

    def hold_computing(self, until: Mark) -> None:
        """Computing that is launched from now on begins once `until` is reached."""

    def wait_here(self, until: Mark) -> None:
        """The host goes on once `until` is reached."""
