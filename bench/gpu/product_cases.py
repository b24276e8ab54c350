"""The products of a layer at work, with the fewest bytes each must move and the operations it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from gpu.ceilings import scattered
from gpu.kernel_cases import Case, moved_bytes

__all__ = ["product_cases"]


def product_cases(
    xp: Any, products: Any, sizes: Iterable[Sequence[int]], dtype: str
) -> Iterator[Callable[[], Case]]:
    """The three products of layers of (batch, inputs, outputs), with the epilogues that a step asks for."""
    for batch, inputs, outputs in sizes:
        for which in ("forward bias", "forward bias relu", "weights and bias gradient", "below"):
            yield partial(_product_case, xp, products, (batch, inputs, outputs), dtype, which)


def _product_case(xp: Any, products: Any, size: tuple[int, int, int], dtype: str, which: str) -> Case:
    batch, inputs, outputs = size
    h, omega = scattered(xp, (batch, inputs), dtype), scattered(xp, (outputs, inputs), dtype, 1)
    f, beta = scattered(xp, (batch, outputs), dtype, 2), xp.zeros(outputs, dtype)
    if which.startswith("forward"):
        activation = "relu" if which.endswith("relu") else "identity"
        work = partial(products.forward, h, omega, beta, f, f, activation, None)
        moved = (h, omega, f, beta)
    elif which == "below":
        work, moved = partial(products.below, f, omega, h), (f, omega, h, beta[:0])
    else:
        work, moved = partial(products.weights, f, h, omega, beta), (f, h, omega, beta)
    return Case(f"product {which}", (), work, moved_bytes(*moved), 2 * batch * inputs * outputs)
