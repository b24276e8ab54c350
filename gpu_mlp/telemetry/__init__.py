"""What the hardware does while a network trains: utilisation, memory, power, energy, temperature, clocks."""

from gpu_mlp.telemetry.epochs import Telemetry
from gpu_mlp.telemetry.nvml import GpuMeter
from gpu_mlp.telemetry.processor import ProcessorMeter
from gpu_mlp.telemetry.sampler import Sampler

__all__ = ["GpuMeter", "ProcessorMeter", "Sampler", "Telemetry"]
