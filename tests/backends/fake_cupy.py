"""A stand-in for CuPy on NumPy arrays, to meet every driver and device without one of them.

Its RawModule is the emulator, so that kernels are compiled and launched as CuPy would.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.special

from gpu_mlp.backends.cuda_backend import cuda_ops, cuda_reference_ops
from gpu_mlp.backends.select import choose_device
from tests.backends.emulated import EmulatedPlace
from tests.emulator import EmulatorError, Module


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for a status of the CUDA runtime."""


@dataclass
class Machine:
    """What the machine has; the defaults work."""

    driver: int = 13000  # 0: none
    runtime: int = 13000
    devices: int = 2
    no_device_raises: bool = False  # the runtime's cudaErrorNoDevice instead of a count of 0
    kernel_error: Exception | None = None
    wrong_sum: bool = False
    used: list[int] = field(default_factory=list)  # the indices made current
    compiled: list[str] = field(default_factory=list)  # the names of template kernels
    synchronized: list[str] = field(default_factory=list)  # the streams that were waited for
    stream: str = "first"  # the current one of every device
    here: threading.local = field(default_factory=threading.local)

    @property
    def current(self) -> int:
        """The current device of this thread."""
        return getattr(self.here, "device", 0)


def fake_modules(machine: Machine) -> dict[str, ModuleType]:
    """`cupy` and `cupyx.scipy.special` of that machine."""

    def device_count() -> int:
        if machine.driver < machine.runtime:
            raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        if machine.no_device_raises:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return machine.devices

    def ones(shape: Any, dtype: Any = float) -> Any:
        if machine.kernel_error is not None:
            raise machine.kernel_error
        return np.full(shape, 3.0 if machine.wrong_sum else 1.0, dtype)

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        def use(self) -> None:
            machine.used.append(self.index)
            machine.here.device = self.index

        def __enter__(self) -> None:
            self.outer = machine.current
            machine.here.device = self.index

        def __exit__(self, *_: object) -> None:
            machine.here.device = self.outer

    def get_current_stream(device_id: int = -1) -> Any:
        device = machine.current if device_id == -1 else device_id
        name = f"{machine.stream} of {device}"
        return SimpleNamespace(synchronize=lambda: machine.synchronized.append(name))

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        driverGetVersion=lambda: machine.driver,
        runtimeGetVersion=lambda: machine.runtime,
        getDeviceCount=device_count,
        getDeviceProperties=lambda index: {
            "name": f"Imaginary {index}".encode(),
            "totalGlobalMem": 3 * 2**29,
            "multiProcessorCount": 2,
        },
    )
    cupy = ModuleType("cupy")
    cupy.__dict__.update({name: getattr(np, name) for name in dir(np) if not name.startswith("_")})

    class RawModule:
        def __init__(self, code: str, options: Sequence[str], name_expressions: Sequence[str] | None) -> None:
            assert "-std=c++17" in options
            machine.compiled += name_expressions or ()
            self.module = Module(code, names=name_expressions or ())

        def get_function(self, name: str) -> Any:
            return self.module.get_function(name)

    cupy.__dict__.update(
        ones=ones,
        RawModule=RawModule,
        asnumpy=np.asarray,
        cuda=SimpleNamespace(
            runtime=runtime,
            Device=Device,
            compiler=SimpleNamespace(CompileException=EmulatorError),
            memory=SimpleNamespace(OutOfMemoryError=MemoryError),
            get_current_stream=get_current_stream,
        ),
    )
    special = ModuleType("cupyx.scipy.special")
    special.__dict__["erf"] = scipy.special.erf
    modules = {
        "cupy": cupy,
        "cupyx": ModuleType("cupyx"),
        "cupyx.scipy": ModuleType("cupyx.scipy"),
        "cupyx.scipy.special": special,
    }
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
    return modules


@contextmanager
def no_memory_of_devices() -> Iterator[None]:
    """Devices are looked for once a process; here again, and once more by whoever comes after."""
    for function in (cuda_ops, cuda_reference_ops, choose_device):
        function.cache_clear()
    try:
        yield
    finally:
        for function in (cuda_ops, cuda_reference_ops, choose_device):
            function.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine | None) -> None:
    """Put the machine's CuPy in place of any real one; None for a Python without CuPy."""
    if machine is not None:
        for name, module in fake_modules(machine).items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr("gpu_mlp.backends.cuda_backend.CupyPlace", lambda index: EmulatedPlace())
        monkeypatch.setattr("gpu_mlp.backends.cuda_backend.import_cublaslt", lambda: None)
        return
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("gpu_mlp.backends.select.find_spec", lambda name: None)
