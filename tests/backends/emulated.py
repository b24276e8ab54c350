"""The backend `cuda-emulated`: the CUDA backend's own launches, with its kernels run on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.special

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.cublaslt import LtProducts
from gpu_mlp.backends.cuda_kernels import KernelLibrary, Launch
from gpu_mlp.backends.fused import INSTANTIATIONS, fused_ops
from gpu_mlp.backends.numpy_backend import to_host_array
from gpu_mlp.backends.reference import reference_ops
from gpu_mlp.errors import DeviceError
from tests.backends.fake_cublaslt import FakeCublasLt
from tests.emulator import Module, asarray, unavailable_reason

__all__ = ["EmulatedCompiler", "EmulatedPlace", "emulated_ops"]

# From file and source to another source.
Change = Callable[[str, str], str]

# Few, so that grids are smaller than the work and every loop over it is taken more than once.
MULTIPROCESSORS = 1


class EmulatedPlace:
    """Host memory."""

    name = "the emulator"

    def holds(self, argument: Any) -> bool:
        """Whether it is a NumPy array."""
        return isinstance(argument, np.ndarray)

    def place_of(self, argument: Any) -> str:
        """Nothing but host memory is ever seen here."""
        return ""


class EmulatedCompiler:
    """Compiles all instantiations of a file at once, of one type alone where the source is changed on the way."""

    def __init__(self, mode: str, change: Change | None = None) -> None:
        self._mode = mode
        self._change = change
        self._modules: dict[str, Module] = {}

    def __call__(self, file: str, source: str, name: str) -> Launch:
        """The kernel; one that is missing in INSTANTIATIONS is an error of the emulator."""
        module = self._modules.get(file)
        if module is None:
            names = [each for each in INSTANTIATIONS[file] if "<" in each]
            if self._change is not None:
                source = self._change(file, source)
                names = [each for each in names if _is_small(each)]
            module = Module(source, filename=file, names=names, mode=self._mode)
            self._modules[file] = module
        function = module.get_function(name)
        return function if self._mode == "fast" else CheckedLaunch(function)


def _is_small(name: str) -> bool:
    """Whether it is what a check of planted bugs asks for: float32 and bfloat16, and few activations."""
    activation = name.partition("activation::")[2].rstrip(">")
    types = "double" not in name and "fp16" not in name
    return types and activation in ("", "relu", "gelu", "identity")


class CheckedLaunch:
    """A launch on copies of its arrays that end where the arrays end: no access beyond a view goes unseen."""

    def __init__(self, function: Launch) -> None:
        self._function = function

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], /) -> None:
        """Launch, and copy back."""
        arrays = {_memory(each): each for each in args if isinstance(each, np.ndarray)}
        copies = {memory: asarray(array) for memory, array in arrays.items()}
        self._function(
            grid,
            block,
            tuple(copies[_memory(each)] if isinstance(each, np.ndarray) else each for each in args),
        )
        for memory, array in arrays.items():
            array[...] = copies[memory]


def _memory(array: Any) -> tuple[int, int]:
    """Where an array lies: two arguments may be one array."""
    return array.ctypes.data, array.nbytes


class Recorder:
    """Stands in for the capture of a stream: calls are kept instead of made, with the arguments they had."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] | None = None

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """What repeats the calls that `work` makes."""
        self.calls = calls = []
        try:
            work()
        finally:
            self.calls = None

        def replay() -> None:
            for call in calls:
                call()

        return replay

    def recorded(self, function: Callable[..., Any], result: Any = None) -> Callable[..., Any]:
        """The function, which while recording gives `result`."""

        def call(*arguments: Any) -> Any:
            if self.calls is None:
                return function(*arguments)
            self.calls.append(partial(function, *arguments))
            return result

        return call


class RecordedNumPy:
    """NumPy, whose elementwise functions can be recorded where they write into an array that they are handed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if isinstance(value, np.ufunc):
            value = partial(self._call, value)
        setattr(self, name, value)
        return value

    def _call(self, function: np.ufunc, *arguments: Any, **settings: Any) -> Any:
        if "out" in settings:
            return self._recorder.recorded(partial(function, **settings), settings["out"])(*arguments)
        return function(*arguments, **settings)


# Epilogues that would do what a kernel is to be seen doing.
DONE_BY_KERNELS = frozenset({"RELU_BIAS", "RELU_AUX_BIAS", "GELU_AUX_BIAS", "BGRADB"})


def recorded_products(recorder: Recorder, missing: frozenset[str]) -> LtProducts:
    """The planned products on a cuBLASLt that multiplies in NumPy, and whose calls can be recorded.

    It lacks the epilogues `missing`.
    """

    def launch(work: Callable[[], None]) -> None:
        recorder.recorded(work)()

    lt = FakeCublasLt(launch=launch, missing=missing)
    return LtProducts(lt, np.empty(64, np.uint8), lambda array: int(array.ctypes.data), lambda: 0)


@cache
def emulated_ops(
    mode: str = "fast", change: Change | None = None, missing: frozenset[str] = DONE_BY_KERNELS
) -> Ops:
    """In the emulator's mode "fast" or "check"; raises DeviceError where no kernel can be emulated."""
    reason = unavailable_reason()
    if reason is not None:
        raise DeviceError(f"kernels cannot be emulated here: {reason}")
    compiler, recorder = EmulatedCompiler(mode, change), Recorder()
    reference = reference_ops(
        RecordedNumPy(recorder),
        name="reference",
        device="cuda:0",
        erf=scipy.special.erf,
        to_device=to_host_array,
        to_host=np.asarray,
        synchronize=lambda: None,
    )

    def compile_recorded(file: str, source: str, name: str) -> Launch:
        return recorder.recorded(compiler(file, source, name))

    kernels = KernelLibrary(compile_recorded, EmulatedPlace(), MULTIPROCESSORS)
    return fused_ops(
        reference, "cuda-emulated", kernels, recorded_products(recorder, missing), recorder.capture
    )
