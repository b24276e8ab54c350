"""A GPU as NVIDIA's management library (NVML) sees it, through nvidia-ml-py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gpu_mlp.backends.base import Ops
from gpu_mlp.telemetry.measures import Reading

__all__ = ["GpuMeter"]

logger = logging.getLogger("gpu_mlp")

# Why clocks are lower than they might be; an idle GPU's, or those that somebody set, are no matter.
THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "temperature",
    0x40: "hardware temperature",
    0x80: "power brake",
}


class GpuMeter:
    """One GPU. Measures that it does not support are left out, and all once it is lost; the log says so.

    gpu_utilisation_percent: of the time of the last sample period in which a kernel ran.
    gpu_memory_bytes: in use, by all processes.
    gpu_power_watts, gpu_temperature_celsius, gpu_clock_mhz (of the multiprocessors): now.
    gpu_energy_joules: since the driver was loaded.
    gpu_throttled: reasons for low clocks, with + between them.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle, self._is_closed = nvml, handle, False
        self._readers: dict[str, Callable[[], float | str]] = {
            "gpu_utilisation_percent": lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            "gpu_memory_bytes": lambda: float(nvml.nvmlDeviceGetMemoryInfo(handle).used),
            "gpu_power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "gpu_energy_joules": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
            "gpu_temperature_celsius": lambda: float(
                nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            "gpu_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "gpu_throttled": self._throttles,
        }

    @classmethod
    def of_device(cls, ops: Ops) -> GpuMeter | None:
        """The GPU of a backend, or None where it has none, as an emulated device, or NVML does not know it."""
        if not hasattr(ops.xp, "cuda"):
            return None
        # NVML and CUDA agree about where a device is on the bus.
        number = int(ops.device.partition(":")[2] or 0)
        return cls.open(str(ops.xp.cuda.Device(number).pci_bus_id))

    @classmethod
    def open(cls, pci_bus_id: str) -> GpuMeter | None:
        """The GPU at this place on the bus, such as "0000:01:00.0", whatever order CUDA gives its devices.

        None, and a word in the log, where there is no NVML or it does not know the GPU.
        """
        try:
            import pynvml
        except ImportError:
            logger.info("no telemetry of the GPU: nvidia-ml-py is not installed")
            return None
        try:
            pynvml.nvmlInit()
            try:
                return cls(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id))
            except pynvml.NVMLError:
                pynvml.nvmlShutdown()
                raise
        except pynvml.NVMLError as error:
            logger.info("no telemetry of the GPU at %s: %s", pci_bus_id, error)
            return None

    def read(self) -> Reading:
        """The measures at this moment."""
        found: dict[str, float | str] = {}
        for name, reader in list(self._readers.items()):
            try:
                found[name] = reader()
            except self._nvml.NVMLError as error:
                self._leave_out(name, error)
        return found

    def _leave_out(self, name: str, error: Any) -> None:
        """For good: what is not supported, and everything of a GPU that is gone."""
        nvml = self._nvml
        never = (
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            nvml.NVML_ERROR_NO_PERMISSION,
        )
        gone = (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_UNINITIALIZED)
        if error.value in gone:
            if self._readers:
                logger.warning("no more telemetry of the GPU: %s", error)
            self._readers.clear()
        elif error.value in never:
            logger.info("the GPU does not tell %s: %s", name, error)
            self._readers.pop(name, None)
        # Anything else, such as a timeout, may be over at the next reading.

    def _throttles(self) -> str:
        mask = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
        return "+".join(reason for bit, reason in THROTTLES.items() if mask & bit)

    def close(self) -> None:
        """Give NVML back, once: others of the process may use it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._readers.clear()
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            logger.info("NVML was not shut down: %s", error)
