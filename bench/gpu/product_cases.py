"""The products of a layer at work, with the fewest bytes each must move and the operations it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gpu.cases import Case, moved_bytes
from gpu.ceilings import scattered
from gpu.precisions import in_precision, types_of
from gpu_mlp.backends.fused.products import Applied

__all__ = ["product_cases"]

# By the epilogue of cuBLASLt that a step asks for; and those that it asks for in a half type alone.
FORWARD = ("BIAS", "RELU_BIAS", "RELU_AUX_BIAS")
BACKWARD = ("BGRADB", "DEFAULT", "DRELU")
OF_HALVES = ("GELU_AUX_BIAS", "DGELU")


def product_cases(
    xp: Any, products: Any, size: Sequence[int], precision: str
) -> Iterator[Callable[[], Case]]:
    """The products of a layer of (batch, inputs, outputs), with the epilogues that a step asks for in a precision."""
    _, inputs, outputs = size
    for epilogue in (*FORWARD, *BACKWARD):
        yield partial(product_case, xp, products, size, precision, epilogue)
    if precision in ("bf16", "fp16"):
        for epilogue, width in zip(OF_HALVES, (outputs, inputs), strict=True):
            if width % 8 == 0:  # else a step does not ask for it
                yield partial(product_case, xp, products, size, precision, epilogue)


def product_case(xp: Any, products: Any, size: Sequence[int], precision: str, epilogue: str) -> Case:
    """One product, done once: the name says so where it has no such epilogue, and what is timed is then without."""
    batch, inputs, outputs = size
    layer = Layer(xp, in_precision(products, precision), batch, inputs, outputs, precision)
    work, moved = layer.work(epilogue)
    missing = "" if work() else ", not in one go"
    if missing and epilogue in ("DRELU", "DGELU"):
        work, moved = layer.work("DEFAULT")

    def run() -> None:
        work()

    kind = "forward" if epilogue.endswith("BIAS") else "weights" if epilogue == "BGRADB" else "below"
    name = f"product {kind} {epilogue}{missing}"
    return Case(name, (), run, moved_bytes(*moved), 2 * batch * inputs * outputs)


class Layer:
    """The memory of a layer: x (B, I), omega (O, I), beta (O,), f and dl_df (B, O), and what epilogues leave."""

    def __init__(self, xp: Any, products: Any, batch: int, inputs: int, outputs: int, precision: str) -> None:
        self._xp, self._products = xp, products
        self._factors, self._results = types_of(precision)
        self._batch, self._inputs = batch, inputs
        self._h = scattered(xp, (batch, inputs), self._factors)
        self._omega = scattered(xp, (outputs, inputs), self._factors, 1)
        self._f = scattered(xp, (batch, outputs), self._factors, 2)

    def work(self, epilogue: str) -> tuple[Callable[[], bool], tuple[Any, ...]]:
        """The product, which tells whether it did all in one go, and the arrays that it must read or write."""
        if epilogue == "BGRADB":
            return self._weights()
        if epilogue.endswith("BIAS"):
            return self._forward(epilogue)
        return self._below(epilogue)

    def _forward(self, epilogue: str) -> tuple[Callable[[], bool], tuple[Any, ...]]:
        """BIAS is the last layer's, whose output is not rounded."""
        xp, f = self._xp, self._f
        activation = {"BIAS": "identity", "GELU_AUX_BIAS": "gelu_tanh"}.get(epilogue, "relu")
        signs = self._signs(f.shape[1]) if epilogue == "RELU_AUX_BIAS" else None
        if epilogue == "BIAS":
            f = xp.empty(f.shape, self._results)
        h_next = xp.empty(f.shape, f.dtype) if activation == "gelu_tanh" else f
        beta = scattered(xp, (f.shape[1],), f.dtype, 3)
        forward = partial(self._products.forward, self._h, self._omega, beta, f, h_next, activation, signs)

        def work() -> bool:
            applied: Applied = forward()
            return applied.activation == activation and applied.signs == (signs is not None)

        kept = [h_next] if h_next is not f else [] if signs is None else [signs]
        return work, (self._h, self._omega, beta, f, *kept)

    def _weights(self) -> tuple[Callable[[], bool], tuple[Any, ...]]:
        dl_domega = self._xp.empty(self._omega.shape, self._results)
        dl_dbeta = self._xp.empty(self._omega.shape[0], self._results)
        work = partial(self._products.weights, self._f, self._h, dl_domega, dl_dbeta)
        return work, (self._f, self._h, dl_domega, dl_dbeta)

    def _below(self, epilogue: str) -> tuple[Callable[[], bool], tuple[Any, ...]]:
        out = self._xp.empty((self._batch, self._inputs), self._factors)
        factors = self._f, self._omega
        if epilogue == "DEFAULT":

            def work() -> bool:
                self._products.below(*factors, out)
                return True

            return work, (*factors, out)
        activation = {"DRELU": "relu", "DGELU": "gelu_tanh"}[epilogue]
        of = self._signs(self._inputs) if epilogue == "DRELU" else self._h
        return partial(self._products.below_activation, *factors, activation, of, out), (*factors, of, out)

    def _signs(self, width: int) -> Any:
        """A bit for each unit, in rows of a multiple of 128 bits."""
        return self._xp.zeros((self._batch, -(-width // 128) * 16), "uint8")
