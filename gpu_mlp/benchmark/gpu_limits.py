"""What a GPU can do at most, as measured here, and how long it was at work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.records import LayerScratch
from gpu_mlp.benchmark.limits import Ceilings, best_mean

__all__ = ["device_seconds", "measure_gpu_ceilings"]

logger = logging.getLogger("gpu_mlp")

PRODUCT_SIZES = (256, 1024, 4096, 8192)
# Copies, from the second-level cache to the device's memory.
COPIED_BYTES = (1 << 20, 1 << 24, 1 << 28, 1 << 30)
MOST_REPETITIONS = 100


def device_seconds(ops: Ops, work: Callable[[], object]) -> float | None:
    """Do the work; the seconds between two CUDA events around it, or None on a device that has none."""
    cuda = getattr(ops.xp, "cuda", None)
    if cuda is None:
        work()
        return None
    start, end = cuda.Event(), cuda.Event()
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(cuda.get_elapsed_time(start, end)) / 1e3


def measure_gpu_ceilings(
    ops: Ops,
    precisions: tuple[str, ...],
    *,
    sizes: tuple[int, ...] = PRODUCT_SIZES,
    copied: tuple[int, ...] = COPIED_BYTES,
) -> Ceilings:
    """Products of the backend itself in every precision, copies, and the launch of its smallest kernel.

    What is repeated is one captured graph where the device captures, so that the host's time does not count; what does
    not fit its memory is left out.
    """
    free = ops.free_memory() or 1 << 62
    products: dict[str, dict[int, float]] = {}
    for precision in precisions:
        fitting = [size for size in sizes if 4 * 8 * size * size < free]
        products[precision] = {size: 2.0 * size**3 / _product(ops, precision, size) for size in fitting}
    copies = {count: count / _copy(ops, count) for count in copied if 2 * count < free}
    return Ceilings(products, copies, _call(ops))


def _product(ops: Ops, precision: str, size: int) -> float:
    """Seconds of a layer of `size` units on as many rows, whose product has the bias in the same go."""
    dtype = "float64" if precision == "float64" else "float32"
    rounded = ops if precision in ("float32", "float64") else ops.in_precision(precision)
    factor = dtype if rounded.factor_dtype is None else rounded.factor_dtype
    xp = ops.xp
    h, omega = (xp.zeros((size, size), factor) for _ in range(2))
    beta, f = xp.zeros(size, dtype), xp.empty((size, size), dtype)
    scratch = LayerScratch(xp.empty((1, size), dtype), xp.empty((1, size), bool), xp.ones(size, dtype))
    return _best(ops, lambda: rounded.layer_forward(h, omega, beta, "identity", f, None, scratch, None))


def _copy(ops: Ops, count: int) -> float:
    source = ops.xp.zeros(count // 8, "float32")
    target = ops.xp.empty_like(source)

    def copy() -> None:
        target[...] = source

    return _best(ops, copy)


def _call(ops: Ops) -> float:
    """Of a kernel in a captured graph, or of the smallest operation of the array module."""
    if ops.graphs is not None:
        graphs, row = ops.graphs, [0.0] * 8
        return _best(ops, lambda: graphs.set_clock(row))
    one, other = ops.xp.ones(1), ops.xp.empty(1)
    return _best(ops, lambda: ops.xp.negative(one, out=other))


def _best(ops: Ops, work: Callable[[], Any]) -> float:
    """Of repetitions in one captured graph, which runs once before it is timed."""

    def prepared(repeated: Callable[[], None]) -> Callable[[], None]:
        replay = _captured(ops, repeated)
        replay()
        return replay

    return best_mean(work, lambda block: _seconds(ops, block), most=MOST_REPETITIONS, prepared=prepared)


def _captured(ops: Ops, work: Callable[[], None]) -> Callable[[], None]:
    if ops.graphs is None:
        return work
    try:
        return ops.graphs.capture(work)
    except Exception as error:  # whatever the driver or CuPy refuses
        logger.info("a measurement could not be captured and has the host's time in it: %s", error)
        return work


def _seconds(ops: Ops, work: Callable[[], object]) -> float:
    ops.synchronize()
    started = time.perf_counter()
    told = device_seconds(ops, work)
    ops.synchronize()
    return max(time.perf_counter() - started if told is None else told, 1e-9)
