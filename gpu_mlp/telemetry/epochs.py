"""`Telemetry`: a callback that writes what the hardware did in every epoch into the history."""

from __future__ import annotations

from gpu_mlp.backends.base import Ops
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch
from gpu_mlp.telemetry.measures import Meter
from gpu_mlp.telemetry.nvml import GpuMeter
from gpu_mlp.telemetry.processor import ProcessorMeter
from gpu_mlp.telemetry.sampler import Sampler

__all__ = ["Telemetry"]

MILLION = 1e6


class Telemetry(Callback):
    """Measures of every epoch in `history.measures`, for the process and, with NVML, the GPU that it trains on.

    The names are those of `ProcessorMeter` and `GpuMeter`: means of what goes up and down, the largest of memory and
    temperature, and differences of time and energy. Where energy is known, joules_per_million_rows is too: of the GPU,
    or else of the processor. An epoch's stretch ends with its validation. To be named before callbacks that show it.
    """

    def __init__(self, meters: list[Meter] | None = None) -> None:
        self._sampler = Sampler([ProcessorMeter()] if meters is None else meters)

    @classmethod
    def of_device(cls, ops: Ops) -> Telemetry:
        """For a run on this device."""
        meters: list[Meter] = [ProcessorMeter()]
        gpu = GpuMeter.of_device(ops)
        return cls(meters if gpu is None else [*meters, gpu])

    def on_train_begin(self, run: RunView) -> None:
        """Begin to read."""
        self._sampler.start()

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        """Note what the epoch came to."""
        found = self._sampler.take()
        energy = found.get("gpu_energy_joules", found.get("cpu_energy_joules"))
        if energy is not None:
            found["joules_per_million_rows"] = float(energy) / run.rows * MILLION
        run.history.measures[epoch.epoch] = found

    def on_train_end(self, run: RunView) -> None:
        """End the readings."""
        self._sampler.stop()
