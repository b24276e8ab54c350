"""What this processor can do at most, as measured here, and the least time that a case could take on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpu_mlp.benchmark.cases import Case

__all__ = ["Ceilings", "Floor", "best_mean", "bytes_moved", "floor_of", "measure_ceilings"]

# Products of square matrices, from what stays in a core's cache to what shows the processor's peak.
PRODUCT_SIZES = (64, 128, 256, 512, 1024, 2048)
# Copies, from the innermost cache to main memory.
COPIED_BYTES = (1 << 14, 1 << 18, 1 << 21, 1 << 24, 1 << 28)
SECONDS_A_MEASUREMENT = 0.05
REPEATS = 3


@dataclass(frozen=True)
class Ceilings:
    """products: by precision and size n, FLOP/s of NumPy's n x n x n.

    copies: bytes/s, read and written, by the bytes of source and destination together.
    call_seconds: of the smallest NumPy call on one number.
    """

    products: dict[str, dict[int, float]]
    copies: dict[int, float]
    call_seconds: float

    def document(self) -> dict[str, Any]:
        """Plain data."""
        plain: dict[str, Any] = asdict(self)
        return plain


@dataclass(frozen=True)
class Floor:
    """The least time of a case by three limits, of which the largest binds.

    compute: its products at the best rate of that size. memory: every array that has to be read or written once, at the
    rate of copies of that size. calls: one for each product and each pass between two.
    """

    compute: float
    memory: float
    calls: float

    @property
    def seconds(self) -> float:
        """What no implementation in separate calls on this processor can go below."""
        return max(self.compute, self.memory, self.calls)

    @property
    def binds(self) -> str:
        """ "compute", "memory" or "calls"."""
        limits = {"compute": self.compute, "memory": self.memory, "calls": self.calls}
        return max(limits, key=limits.__getitem__)


def measure_ceilings(precisions: tuple[str, ...], clock: Callable[[], float] = time.perf_counter) -> Ceilings:
    """A few seconds of products and copies with the threads that BLAS has now."""

    def seconds_of(work: Callable[[], object]) -> float:
        started = clock()
        work()
        return clock() - started

    rng = np.random.default_rng(0)
    products: dict[str, dict[int, float]] = {}
    for precision in precisions:
        products[precision] = {}
        for size in PRODUCT_SIZES:
            a, b = (rng.normal(size=(size, size)).astype(precision) for _ in range(2))
            out = np.empty_like(a)
            seconds = best_mean(lambda a=a, b=b, out=out: np.matmul(a, b, out=out), seconds_of)  # type: ignore[misc]
            products[precision][size] = 2.0 * size**3 / seconds
    copies = {}
    for count in COPIED_BYTES:
        source = np.ones(count // 16)
        target = np.empty_like(source)
        copies[count] = count / best_mean(lambda s=source, t=target: np.copyto(t, s), seconds_of)  # type: ignore[misc]
    one, other = np.ones(1), np.empty(1)
    return Ceilings(products, copies, best_mean(lambda: np.negative(one, out=other), seconds_of))


def best_mean(
    work: Callable[[], object],
    seconds_of: Callable[[Callable[[], object]], float],
    *,
    most: int | None = None,
    prepared: Callable[[Callable[[], None]], Callable[[], None]] = lambda repeated: repeated,
) -> float:
    """The shortest mean of a few blocks of at most so many repetitions: a ceiling is what can be reached."""
    work()
    count = max(1, round(SECONDS_A_MEASUREMENT / max(seconds_of(work), 1e-9)))
    count = count if most is None else min(count, most)

    def repeated() -> None:
        for _ in range(count):
            work()

    block = prepared(repeated)
    return min(seconds_of(block) for _ in range(REPEATS)) / count


def floor_of(case: Case, ceilings: Ceilings) -> Floor | None:
    """None for a precision of which no products were measured."""
    rates = ceilings.products.get(case.precision)
    if rates is None:
        return None
    # Products of a step are not square: those of about as many multiplications have about their rate, and larger ones
    # no lower one.
    repeats = case.repeats
    size = (case.multiplications / repeats / (3 * (len(case.problem.layer_sizes) - 1))) ** (1 / 3)
    rate = max(value for n, value in rates.items() if n <= max(2 * size, min(rates)))
    moved = bytes_moved(case)
    fitting = [value for count, value in ceilings.copies.items() if count >= moved]
    bandwidth = max(fitting, default=ceilings.copies[max(ceilings.copies)])
    calls = repeats * _calls(case) * ceilings.call_seconds
    return Floor(2.0 * case.multiplications / rate, repeats * moved / bandwidth, calls)


def bytes_moved(case: Case) -> int:
    """In one of its repeats: parameters read once, and in a step also the gradients, and the parameters and both
    moments read and written; and of every layer its activations written, and in a step their gradients too.
    """
    width = 8 if case.precision == "float64" else 4
    parameters, units = case.problem.parameters, case.batch * sum(case.problem.layer_sizes)
    if case.task == "inference":
        return width * (parameters + units)
    return width * (parameters * (1 + 1 + 2 * 3) + 2 * units)


def _calls(case: Case) -> int:
    """A product and a pass for every layer forward, two products and a pass backward (one product in the first layer),
    the loss, the update.
    """
    layers = len(case.problem.layer_sizes) - 1
    return 2 * layers if case.task == "inference" else 2 * layers + 3 * layers - 1 + 2
