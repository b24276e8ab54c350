"""The CUDA backend: `reference_ops(cupy)` with the primitives replaced that kernels fuse.

CuPy is imported here and in `cuda_kernels` alone, when a CUDA device is asked for.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.cublaslt import WORKSPACE_BYTES, LtProducts, import_cublaslt
from gpu_mlp.backends.cuda_copies import CupyCopies
from gpu_mlp.backends.cuda_kernels import KernelLibrary
from gpu_mlp.backends.cuda_memory import CupyArrays
from gpu_mlp.backends.cupy_device import (
    CupyPlace,
    capture_with_cupy,
    compile_with_cupy,
    pointer_of,
    seconds_on_device,
)
from gpu_mlp.backends.fused import DotProducts, Products, fused_ops
from gpu_mlp.backends.kernel_cache import use_private_cache
from gpu_mlp.backends.numpy_backend import to_host_array
from gpu_mlp.backends.reference import reference_ops
from gpu_mlp.errors import DeviceError

__all__ = ["cuda_device_count", "cuda_ops", "cuda_reference_ops", "describe_device", "make_current"]

# "1": time a few candidates for every product and keep the fastest.
TIMING_VARIABLE = "GPU_MLP_TIME_PRODUCTS"

INSTALL_HINT = "pip install 'gpu_mlp[cuda13]' (or [cuda12] for a driver older than 580)"


def _import_cupy() -> Any:
    use_private_cache()
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            f"a CUDA device was asked for, but CuPy cannot be imported ({error}); {INSTALL_HINT}"
        ) from error
    return cupy


def cuda_device_count() -> int:
    """How many CUDA devices can be used. Raises DeviceError with the reason where none can."""
    cupy = _import_cupy()
    runtime = cupy.cuda.runtime
    try:
        driver = int(runtime.driverGetVersion())
    except runtime.CUDARuntimeError:
        driver = 0
    if driver == 0:
        raise DeviceError(
            "a CUDA device was asked for, but this machine has no NVIDIA driver; "
            'install one, or use device="cpu"'
        )
    try:
        count = int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        if "cudaErrorNoDevice" not in str(error):
            needed = int(runtime.runtimeGetVersion())
            raise DeviceError(
                f"a CUDA device was asked for, but the driver (CUDA {_version(driver)}) does not serve "
                f"this CuPy (CUDA {_version(needed)}): {error}; update the driver, or {INSTALL_HINT}"
            ) from error
        count = 0
    if count == 0:
        raise DeviceError(
            "a CUDA device was asked for, but the driver shows none (is CUDA_VISIBLE_DEVICES empty?); "
            'make one visible, or use device="cpu"'
        )
    return count


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def describe_device(index: int) -> str:
    """The device's name and memory, as the user knows them: `NVIDIA H200, 139.8 GiB`."""
    properties = _import_cupy().cuda.runtime.getDeviceProperties(index)
    return f"{properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.1f} GiB"


def make_current(index: int) -> None:
    """Let CuPy allocate and launch on that device in this thread, until it is told otherwise."""
    _import_cupy().cuda.Device(index).use()


@cache
def cuda_ops(index: int) -> Ops:
    """`cuda_reference_ops` with everything replaced that a kernel does in one go.

    Raises DeviceError as it does, and where the kernels' sources are missing.
    """
    reference = cuda_reference_ops(index)
    cupy = reference.xp
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    with cupy.cuda.Device(index):
        kernels = KernelLibrary(compile_with_cupy, CupyPlace(index), properties["multiProcessorCount"])
        return fused_ops(reference, "cuda", kernels, _products(cupy), capture_with_cupy)


def _products(cupy: Any) -> Products:
    """cuBLASLt's where nvmath-python is installed, else CuPy's."""
    lt = import_cublaslt()
    if lt is None:
        return DotProducts(cupy)
    return LtProducts(
        lt,
        cupy.empty(WORKSPACE_BYTES, cupy.uint8),
        pointer=pointer_of,
        stream=lambda: int(cupy.cuda.get_current_stream().ptr),
        timer=seconds_on_device if os.environ.get(TIMING_VARIABLE) == "1" else None,
    )


@cache
def cuda_reference_ops(index: int) -> Ops:
    """Every primitive as CuPy calls on device `index`, which `make_current` makes the current one.

    Raises DeviceError where there is no such device or it fails to run a first kernel.
    """
    cupy = _import_cupy()
    count = cuda_device_count()
    if index >= count:
        raise DeviceError(
            f"device cuda:{index} was asked for, but there are {count} CUDA devices (cuda:0 to cuda:{count - 1}); "
            "choose one of them"
        )
    from cupyx.scipy.special import erf

    with cupy.cuda.Device(index):
        _probe(cupy, index)
    arrays = CupyArrays(cupy, index)

    def as_array(array: Any) -> Array:
        make_current(index)  # every computation begins with its input
        if isinstance(array, cupy.ndarray):
            there: Array = array
        elif hasattr(array, "__cuda_array_interface__"):
            there = arrays.asarray(array)
        else:
            there = to_host_array(array)
        return there

    def to_device(array: Any) -> Array:
        there = as_array(array)
        on_device: Array = there if isinstance(there, cupy.ndarray) else arrays.asarray(there)
        return on_device

    def to_host(array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = cupy.asnumpy(array)
        return host

    return reference_ops(
        arrays,
        name="cuda-reference",
        device=f"cuda:{index}",
        erf=erf,
        as_array=as_array,
        to_device=to_device,
        to_host=to_host,
        synchronize=lambda: cupy.cuda.get_current_stream(index).synchronize(),
        open_copies=lambda: CupyCopies(cupy, index),
        free_memory=arrays.free_memory,
    )


def _probe(cupy: Any, index: int) -> None:
    """A first kernel and a first product, so that a broken installation is reported here and not in an epoch."""
    try:
        ones = cupy.ones((2, 2), cupy.float32)
        total = float(cupy.dot(ones, ones).sum())
    except Exception as error:
        raise DeviceError(
            f"device cuda:{index} failed to run a first kernel ({type(error).__name__}: {error}); "
            f"check the CUDA installation: {INSTALL_HINT}"
        ) from error
    if total != 8.0:
        raise DeviceError(
            f"device cuda:{index} computed {total} for a sum that is 8; the CUDA installation is broken"
        )
