"""What a step needs to be captured once and replayed: the clock, the mini-batch by position, the loss of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.cuda_kernels import FLOATS, KernelLibrary, c_type
from gpu_mlp.backends.fused.clock import Clock
from gpu_mlp.backends.fused.optimizers import clock_row
from gpu_mlp.backends.fused.rows import GATHERED, launch_gather
from gpu_mlp.backends.graphs_and_copies import Captured

__all__ = ["INSTANTIATIONS", "FusedGraphs"]

INSTANTIATIONS = {
    "rows.cu": (
        "load_clock",
        *(f"gather_batch<{given}, {to}>" for given, to in GATHERED),
        *(f"end_step<{each}>" for each in FLOATS),
    )
}


class FusedGraphs:
    """The backend's side of `learning.steps.cuda_graph`; see `graphs_and_copies.Graphs`."""

    def __init__(
        self, kernels: KernelLibrary, clock: Clock, capture: Callable[[Callable[[], None]], Captured]
    ) -> None:
        self._kernels = kernels
        self._clock = clock
        self.capture = capture

    def clock_row(self, optimizer: str, learning_rate: float, step: int, **constants: float) -> list[float]:
        """The eight numbers of step `step`, from 1; dropout counts from 0."""
        _, numbers = clock_row(optimizer, learning_rate, step, **constants)
        return [step - 1.0, *numbers, *(0.0,) * (7 - len(numbers))]

    def set_clock(self, row: Sequence[float]) -> None:
        """The numbers of the step that is launched next."""
        step, rate, shrink, penalty, *own = row
        self._clock.set(step, rate, shrink, penalty, tuple(own))

    @contextmanager
    def held_clock(self) -> Iterator[None]:
        """Inside, primitives leave the clock as it is."""
        self._clock.held = True
        try:
            yield
        finally:
            self._clock.held = False

    def load_clock(self, table: Array, position: Array) -> None:
        """The clock <- table[position]: table (S, 8) float64, position () int64."""
        kernel = self._kernels.get("rows.cu", "load_clock")
        kernel((1,), (1,), table, position, self._clock.numbers)

    def gather_batch(self, rows: Array, order: Array, position: Array, out: Array, batch: int) -> None:
        """out_b = rows[order[position batch + b]]: rows (N, D) or (N,), order (S batch,), out (B, D) or (B,)."""
        launch_gather(self._kernels, "gather_batch", rows, (order, position), out, batch)

    def end_step(self, loss: Array, losses: Array, position: Array) -> None:
        """losses[position] = loss, position + 1."""
        kernel = self._kernels.get("rows.cu", f"end_step<{c_type(loss)}>")
        kernel((1,), (1,), loss, losses, position)
