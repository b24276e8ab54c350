"""What this device can do at most, as measured here: copies in bytes/s, products in FLOP/s, and what a launch costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpu.notes import Notes
from gpu.precisions import PRECISIONS, in_precision, types_of
from gpu.timing import CudaTimer, Timing

__all__ = ["ceiling_of", "cuda_products", "measure", "scattered"]

COPIED_BYTES = 1 << 30
PRODUCT_SIZE = 8192
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
    for precision in PRECISIONS:
        with notes.failures(f"product {precision}"):
            measure_products(notes, ops.xp, timer, cuda_products(), precision)
    for nodes in (1, 10, 100):
        with notes.failures(f"graph of {nodes} nodes"):
            notes.put(f"graph of {nodes} nodes", graph_cost(ops, capture_with_cupy, nodes))


def measure_products(
    notes: Notes, xp: Any, timer: Callable[[Callable[[], None]], Timing], products: Any, precision: str
) -> None:
    """The rates of one precision: with results of the type of the factors, and of the parameters if that is another."""
    factors, results = types_of(precision)
    for result in dict.fromkeys((factors, results)):
        what = f"product {precision}{'' if result == factors else f', {result} result'}"
        rate = product_rate(xp, timer, products, precision, result, PRODUCT_SIZE)
        notes.put(what, rate)
        notes.say(f"{what}: {rate['flop_per_s'] / 1e12:.2f} TFLOP/s")


def cuda_products() -> Any:
    """gpu_mlp's own products on the current device: cuBLASLt's, or CuPy's where nvmath-python is missing."""
    from gpu_mlp.backends import cuda_backend

    return cuda_backend._products(cuda_backend.cuda_ops(0).xp)


def scattered(xp: Any, shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    """An array of normal numbers: a block of random ones over and over, in another phase for each seed.

    The numbers of a half type are copied as bits, whatever the array module knows of the type.
    """
    import numpy as np

    size, dtype = int(np.prod(shape, dtype=np.int64)), np.dtype(dtype)
    block = np.random.default_rng(seed).normal(size=min(size, BLOCK - 7)).astype(dtype)
    copied = np.dtype(np.uint16) if dtype.itemsize == 2 else dtype
    values = xp.empty(size, copied)
    given = xp.asarray(block.view(copied))
    for start in range(0, size, len(block)):
        values[start : start + len(block)] = given[: size - start]
    return values.view(dtype).reshape(shape)


def ceiling_of(ceilings: Mapping[str, Any], precision: str) -> float | None:
    """FLOP/s of the fastest large product of a precision that was measured."""
    measured = [value for key, value in ceilings.items() if key.split(",")[0] == f"product {precision}"]
    return max((float(value["flop_per_s"]) for value in measured), default=None)


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
    xp: Any,
    timer: Callable[[Callable[[], None]], Timing],
    products: Any,
    precision: str,
    result: Any,
    size: int,
) -> dict[str, Any]:
    """FLOP/s of a large square product without an epilogue, of factors of the precision into a result of a type."""
    a, b = (scattered(xp, (size, size), types_of(precision).factors, seed) for seed in range(2))
    out = xp.empty((size, size), result)
    in_it = in_precision(products, precision)
    timing = timer(lambda: in_it.below(a, b, out))
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
