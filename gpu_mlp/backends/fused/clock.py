"""The eight numbers in device memory that tell every kernel which step it is."""

from __future__ import annotations

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.cuda_kernels import KernelLibrary

__all__ = ["INSTANTIATIONS", "Clock"]

INSTANTIATIONS = {"rows.cu": ("set_clock",)}


class Clock:
    """step, rate, shrink, penalty and four constants of the optimizer's own, (8,) float64.

    Kernels read them there and not from their arguments, so that a captured launch can be replayed in another step.
    """

    def __init__(self, kernels: KernelLibrary, numbers: Array) -> None:
        self.numbers = numbers
        self.held = False  # whether somebody else sets it
        self._kernels = kernels

    def set(
        self,
        step: float,
        rate: float = 0.0,
        shrink: float = 1.0,
        penalty: float = 0.0,
        own: tuple[float, ...] = (),
    ) -> None:
        """One tiny launch, in the order of the stream; none while the clock is held.

        `step` counts from 0 and is what dropout masks are drawn of.
        """
        if self.held:
            return
        kernel = self._kernels.get("rows.cu", "set_clock")
        own = (*own, *(0.0,) * (4 - len(own)))
        kernel((1,), (1,), self.numbers, float(step), rate, shrink, penalty, *own)
