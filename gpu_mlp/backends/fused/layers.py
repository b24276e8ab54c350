"""One layer forward and one layer backward: three products, and a kernel for all that stands between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu_mlp.backends.base import ACTIVATION_NAMES, GRADIENT_FROM_H, Array
from gpu_mlp.backends.cuda_kernels import FLOATS, HALVES, KernelLibrary, c_type
from gpu_mlp.backends.fused.clock import Clock
from gpu_mlp.backends.fused.geometry import by_columns, by_elements, column_sums, packed
from gpu_mlp.backends.fused.products import Products
from gpu_mlp.backends.records import Dropout, LayerBelow, LayerScratch

__all__ = ["INSTANTIATIONS", "FusedLayers"]

INSTANTIATIONS = {
    "activation.cu": tuple(
        f"{kernel}<{float_type}, activation::{name}>"
        for kernel in (
            "bias_activation",
            "bias_activation_dropout",
            "activation_gradient",
            "activation_gradient_dropout",
        )
        for float_type in (*FLOATS, *HALVES)
        for name in ACTIVATION_NAMES
    ),
    "bias_gradient.cu": (
        *(f"column_sums<{float_type}, {float_type}>" for float_type in FLOATS),
        *(f"column_sums<{half}, float>" for half in HALVES),
    ),
}


class FusedLayers:
    """`layer_forward` and `layer_backward` with the equations of `reference.layers`.

    `zeros` allocates zeros of a shape and a type.
    """

    def __init__(
        self, kernels: KernelLibrary, products: Products, clock: Clock, zeros: Callable[[int, Any], Array]
    ) -> None:
        self._kernels = kernels
        self._make_zeros = zeros
        self._products = products
        self._clock = clock
        self._zeros: dict[tuple[int, Any], Array] = {}

    def forward(
        self,
        h: Array,
        omega: Array,
        beta: Array,
        activation: str,
        f: Array,
        h_next: Array | None,
        scratch: LayerScratch,
        dropout: Dropout | None,
    ) -> None:
        """f_k = h_k Omega_k^T + beta_k and h_{k+1} = a[f_k], as `reference.layers.layer_forward`."""
        if h_next is None:
            activation, h_next = "identity", f
        # GELU keeps f beside h; of the others that products know, f_k and h_{k+1} must be one memory.
        in_one_go = activation if dropout is None and (h_next is f or activation == "gelu_tanh") else None
        applied = self._products.forward(h, omega, beta, f, h_next, in_one_go, scratch.signs)
        scratch.signs_left = applied.signs
        if applied.activation is not None:
            if applied.activation == in_one_go:
                return
            beta = self._no_bias(beta)
        geometry = by_columns(*f.shape, packed(f.itemsize), self._kernels.multiprocessors)
        if dropout is None:
            self._kernel("bias_activation", f, activation)(*geometry, beta, f, h_next)
            return
        stream = self._stream(dropout)
        self._kernel("bias_activation_dropout", f, activation)(
            *geometry, beta, f, h_next, dropout.kept, *stream
        )

    def backward(
        self,
        dl_df: Array,
        h: Array,
        omega: Array,
        scratch: LayerScratch,
        dl_domega: Array,
        dl_dbeta: Array,
        below: LayerBelow | None,
    ) -> None:
        """dL/dbeta_k, dL/dOmega_k and dL/df_{k-1}, as `reference.layers.layer_backward`."""
        if not self._products.weights(dl_df, h, dl_domega, dl_dbeta):
            self._bias_gradient(dl_df, dl_dbeta, scratch.values)
        if below is None:
            return
        if self._below_in_one_go(dl_df, omega, below):
            return
        self._products.below(dl_df, omega, below.dl_dh)
        x = below.h if below.activation in GRADIENT_FROM_H else below.f
        pack = packed(x.itemsize)
        geometry = by_elements(x.size, pack, self._kernels.multiprocessors)
        if below.dropout is None:
            kernel = self._kernel("activation_gradient", x, below.activation)
            kernel(*geometry, x, below.dl_dh, below.dl_df)
            return
        stream = self._stream(below.dropout)
        kernel = self._kernel("activation_gradient_dropout", x, below.activation)
        kernel(*geometry, x, below.dl_dh, below.dl_df, *stream)

    def _below_in_one_go(self, dl_df: Array, omega: Array, below: LayerBelow) -> bool:
        """dL/df_{k-1} by the product itself, where it can and nobody looks at dL/dh_k."""
        if below.traced or below.dropout is not None:
            return False
        of = {"relu": below.scratch.signs if below.scratch.signs_left else None, "gelu_tanh": below.f}.get(
            below.activation
        )
        return of is not None and self._products.below_activation(
            dl_df, omega, below.activation, of, below.dl_df
        )

    def _no_bias(self, beta: Array) -> Array:
        """Zeros like beta, made once."""
        key = beta.size, beta.dtype
        if key not in self._zeros:
            self._zeros[key] = self._make_zeros(*key)
        return self._zeros[key]

    def _bias_gradient(self, dl_df: Array, dl_dbeta: Array, partial: Array) -> None:
        """dL/dbeta = sum over the batch of dL/df, in parts that stand in rows of `partial` (B, O)."""
        (x, parts), block = column_sums(*dl_df.shape, self._kernels.multiprocessors)
        if parts > 1:
            self._column_sums((x, parts), block, dl_df, partial[:parts])
            dl_df = partial[:parts]
        self._column_sums((x, 1), block, dl_df, dl_dbeta[None])

    def _column_sums(self, grid: tuple[int, ...], block: tuple[int, ...], values: Array, sums: Array) -> None:
        name = f"column_sums<{c_type(values)}, {c_type(sums)}>"
        self._kernels.get("bias_gradient.cu", name)(grid, block, values, sums)

    def _kernel(self, name: str, like: Array, activation: str) -> Any:
        return self._kernels.get("activation.cu", f"{name}<{c_type(like)}, activation::{activation}>")

    def _stream(self, dropout: Dropout) -> tuple[Any, ...]:
        """The arguments that decide the mask: clock, key, layer, threshold, first number, scale."""
        self._clock.set(dropout.step)
        threshold = round(dropout.rate * 2**32)
        scale = 1.0 / (1.0 - dropout.rate)
        first = dropout.scratch.first
        return (self._clock.numbers, *dropout.key, dropout.layer, threshold, first, scale)
