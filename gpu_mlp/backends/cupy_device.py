"""What kernels, products and graphs ask of CuPy: addresses, compilation, time and capture on the current stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu_mlp.backends.cuda_kernels import Launch
from gpu_mlp.backends.graphs_and_copies import Captured
from gpu_mlp.errors import DeviceError

__all__ = ["CupyPlace", "capture_with_cupy", "compile_with_cupy", "pointer_of", "seconds_on_device"]

TIMED_CALLS = 5


def pointer_of(array: Any) -> int:
    """The address of a CuPy array on its device."""
    return int(array.data.ptr)


class CupyPlace:
    """The memory of one CUDA device."""

    def __init__(self, index: int) -> None:
        import cupy

        self.name = f"cuda:{index}"
        self._index = index
        self._array = cupy.ndarray

    def holds(self, argument: Any) -> bool:
        """Whether it is a CuPy array of this device."""
        return isinstance(argument, self._array) and argument.device.id == self._index

    def place_of(self, argument: Any) -> str:
        """ " on cuda:1" for a CuPy array."""
        return f" on cuda:{argument.device.id}" if isinstance(argument, self._array) else ""


def compile_with_cupy(file: str, source: str, name: str) -> Launch:
    """One kernel by NVRTC, from CuPy's cache on disk where it was compiled before.

    Raises DeviceError with NVRTC's message where it refuses the source.
    """
    import cupy

    names = (name,) if "<" in name else None
    try:
        module = cupy.RawModule(code=source, options=("-std=c++17",), name_expressions=names)
        launch: Launch = module.get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        raise DeviceError(f"kernel {name} of {file} does not compile on this machine: {error}") from error
    return launch


def seconds_on_device(work: Callable[[], None]) -> float:
    """The least time of a few calls between two events on the current stream; waits for the device."""
    import cupy

    work()
    times = []
    for _ in range(TIMED_CALLS):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        work()
        stop.record()
        stop.synchronize()
        times.append(float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3)
    return min(times)


def capture_with_cupy(work: Callable[[], None]) -> Captured:
    """The launches of `work` as a CUDA graph that is launched on the current stream; none of them is run yet.

    Raises what CuPy or the driver raises for a call that cannot be captured. The memory that the launches use is the
    caller's to keep.
    """
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)  # the default stream cannot be captured
    with stream:
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
    launch: Captured = graph.launch
    return launch
