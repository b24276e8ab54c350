"""What this device can do at most, as measured here: copies in bytes/s, products in FLOP/s, and what a launch costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu.notes import Notes
from gpu.timing import CudaTimer, Timing

__all__ = ["cuda_products", "measure", "scattered"]

COPIED_BYTES = 1 << 30
PRODUCT_SIZE = {"float32": 8192, "float64": 8192}
BLOCK = 1 << 16


def measure(notes: Notes) -> None:
    """The ceilings of device 0."""
    from gpu_mlp.backends.cuda_backend import cuda_ops
    from gpu_mlp.backends.cupy_device import capture_with_cupy

    ops = cuda_ops(0)
    timer = CudaTimer(ops.xp, capture_with_cupy)
    with notes.failures("copy"):
        notes.put("copy", copy_rate(ops.xp, timer))
        notes.say(f"copy: {notes.results['copy']['bytes_per_s'] / 1e12:.3f} TB/s")
    for dtype, size in PRODUCT_SIZE.items():
        with notes.failures(f"product {dtype}"):
            rate = product_rate(ops.xp, timer, cuda_products(), dtype, size)
            notes.put(f"product {dtype}", rate)
            notes.say(f"product {dtype}: {rate['flop_per_s'] / 1e12:.2f} TFLOP/s")
    for nodes in (1, 10, 100):
        with notes.failures(f"graph of {nodes} nodes"):
            notes.put(f"graph of {nodes} nodes", graph_cost(ops, capture_with_cupy, nodes))


def cuda_products() -> Any:
    """gpu_mlp's own products on the current device: cuBLASLt's, or CuPy's where nvmath-python is missing."""
    from gpu_mlp.backends import cuda_backend

    return cuda_backend._products(cuda_backend.cuda_ops(0).xp)


def scattered(xp: Any, shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """An array of normal numbers: a block of random ones over and over, in another phase for each seed."""
    import numpy as np

    size = int(np.prod(shape, dtype=np.int64))
    block = np.random.default_rng(seed).normal(size=min(size, BLOCK - 7)).astype(dtype)
    values = xp.empty(size, dtype)
    given = xp.asarray(block)
    for start in range(0, size, len(block)):
        values[start : start + len(block)] = given[: size - start]
    return values.reshape(shape)


def copy_rate(xp: Any, timer: Callable[[Callable[[], None]], Timing]) -> dict[str, Any]:
    """Bytes read and written by a large copy on the device."""
    free = int(xp.cuda.runtime.memGetInfo()[0])
    count = min(COPIED_BYTES, free // 4) // 4
    source = scattered(xp, (count,), "float32")
    target = xp.empty_like(source)

    def copy() -> None:
        target[...] = source

    timing = timer(copy)
    return {
        "bytes": 2 * source.nbytes,
        "seconds": timing.seconds,
        "timed": timing.how,
        "bytes_per_s": 2 * source.nbytes / timing.seconds,
    }


def product_rate(
    xp: Any, timer: Callable[[Callable[[], None]], Timing], products: Any, dtype: str, size: int
) -> dict[str, Any]:
    """FLOP/s of a large square product without an epilogue."""
    a, b = (scattered(xp, (size, size), dtype, seed) for seed in range(2))
    out = xp.empty((size, size), dtype)
    timing = timer(lambda: products.below(a, b, out))
    return {
        "size": size,
        "seconds": timing.seconds,
        "timed": timing.how,
        "by": type(products).__name__,
        "flop_per_s": 2 * size**3 / timing.seconds,
    }


def graph_cost(ops: Any, capture: Callable[[Callable[[], None]], Callable[[], None]], nodes: int) -> float:
    """Seconds of a graph of so many of the smallest kernel."""
    from statistics import median

    row = [0.0] * 8
    ops.graphs.set_clock(row)

    def work() -> None:
        for _ in range(nodes):
            ops.graphs.set_clock(row)

    timer = CudaTimer(ops.xp, None)
    replay = capture(work)
    for _ in range(3):
        replay()
    return float(median(timer.elapsed(replay) for _ in range(30)))
