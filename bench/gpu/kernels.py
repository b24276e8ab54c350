"""The stage `kernels`: bytes/s of every kernel of `cuda/` and FLOP/s of the products, at sizes from small to full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpu.cases import Case
from gpu.ceilings import cuda_products
from gpu.idle_products import IdleProducts
from gpu.kernel_cases import kernel_cases
from gpu.notes import Notes
from gpu.precisions import PRECISIONS
from gpu.product_cases import product_cases
from gpu.timing import CudaTimer, Timer

__all__ = ["PRODUCT_SIZES", "measure", "measure_cases", "shapes_for"]

SMALL_SHAPES = ((256, 64), (8192, 10), (1024, 1024))
LARGE_WIDTH = 4096
MOST_ELEMENTS = 1 << 26
# Batch, inputs and outputs of layers of the step benchmarks.
PRODUCT_SIZES = ((64, 64, 128), (256, 300, 300), (128, 784, 512), (8192, 512, 512), (8192, 4096, 4096))


def measure(notes: Notes) -> None:
    """Everything on device 0."""
    from gpu_mlp.backends.cuda_backend import cuda_reference_ops
    from gpu_mlp.backends.cuda_kernels import KernelLibrary
    from gpu_mlp.backends.cupy_device import CupyPlace, capture_with_cupy, compile_with_cupy
    from gpu_mlp.backends.fused import fused_ops

    reference = cuda_reference_ops(0)
    cupy = reference.xp
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    library = KernelLibrary(compile_with_cupy, CupyPlace(0), properties["multiProcessorCount"])
    idle = IdleProducts()
    ops = fused_ops(reference, "cuda", library, idle, capture_with_cupy)
    timer = CudaTimer(cupy, capture_with_cupy)
    cache = int(properties["l2CacheSize"])
    *small, large = shapes_for(int(cupy.cuda.runtime.memGetInfo()[0]))
    free = cupy.get_default_memory_pool().free_all_blocks

    def run(what: str, cases: Iterable[Callable[[], Case]], size: Sequence[int], precision: str) -> None:
        for make in cases:
            measure_cases(notes, what, make, timer, size, precision, cache)
            free()

    # What matters most first: the time may end.
    for precision in ("float32", "bf16"):
        run("kernels", kernel_cases(ops, idle, *large, precision), large, precision)
    products: Any = None
    with notes.failures("cuBLASLt"):
        products = cuda_products()
    for precision in PRECISIONS:
        for size in PRODUCT_SIZES if products is not None else ():
            run("products", product_cases(cupy, products, size, precision), size, precision)
    for shape in small:
        run("kernels", kernel_cases(ops, idle, *shape, "float32"), shape, "float32")
    run("kernels", kernel_cases(ops, idle, *large, "float64"), large, "float64")


def shapes_for(free_bytes: int) -> tuple[tuple[int, int], ...]:
    """Rows and widths: three that fit in caches, and one that fills the device and leaves room for more."""
    elements = min(MOST_ELEMENTS, free_bytes // 64)
    return *SMALL_SHAPES, (max(1, elements // LARGE_WIDTH), LARGE_WIDTH)


def measure_cases(
    notes: Notes,
    what: str,
    make: Callable[[], Case],
    timer: Timer,
    size: Sequence[int],
    precision: str,
    cache_bytes: int,
) -> None:
    """Time one case and keep its row, or the reason why there is none."""
    if notes.budget.left() < 2.0:
        name = getattr(getattr(make, "func", make), "__name__", "?")
        notes.append("skipped", f"{what}: {name} of {tuple(size)}, {precision}: no time left")
        return
    with notes.failures(f"{what} of size {tuple(size)}, {precision}"):
        case = make()
        timing = timer(case.work)
        row: dict[str, Any] = {
            "name": case.name,
            "size": list(size),
            "precision": precision,
            "seconds": timing.seconds,
            "timed": timing.how,
            "bytes": case.bytes,
            "bytes_per_s": case.bytes / timing.seconds,
            "in_cache": case.bytes < cache_bytes,
        }
        if case.flops:
            row |= {"flops": case.flops, "flop_per_s": case.flops / timing.seconds}
        notes.append(what, row)
        rate = (
            f"{row['flop_per_s'] / 1e12:8.2f} TFLOP/s"
            if case.flops
            else f"{row['bytes_per_s'] / 1e9:8.1f} GB/s"
        )
        notes.say(
            f"{case.name:<36} {'x'.join(map(str, size)):<16} {precision:<7} {timing.seconds * 1e6:10.2f} us {rate}"
        )
