"""The forward pass: f_k = h_k Omega_k^T + beta_k, h_{k+1} = a[f_k], for layers k = 0..K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from gpu_mlp.backends.base import GRADIENT_FROM_H, Array, Ops
from gpu_mlp.backends.records import Dropout, LayerScratch
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["Trace", "allocate_trace", "forward"]


@dataclass
class Trace:
    """Everything a forward pass computed.

    f[k] (B, D_{k+1}) for k = 0..K, and h[k] (B, D_k) for k = 0..K, of which h[0] is the input. In a pass that was
    allocated to share memory, f[k] and h[k+1] may be one array, which then holds h[k+1].
    """

    f: list[Array]
    h: list[Array]
    scratch: list[LayerScratch] = field(repr=False)
    dropouts: list[Dropout | None] = field(repr=False)

    @property
    def output(self) -> Array:
        """f[K], (B, D_{K+1}): the network's output before any loss or link."""
        return self.f[-1]

    def layer_input(self, k: int) -> Array:
        """What layer k reads: h[k], or its kept units under dropout."""
        dropout = self.dropouts[k - 1] if k > 0 else None
        return self.h[k] if dropout is None else dropout.kept


def allocate_trace(
    ops: Ops,
    layer_sizes: Sequence[int],
    batch: int,
    dtype: Any,
    *,
    dropouts: Sequence[Dropout | None] | None = None,
    shared: Sequence[str] = (),
    backward: bool = False,
) -> Trace:
    """Memory for a forward pass of `batch` rows; the input h[0] is assigned by whoever runs it.

    `dropouts` has one entry for each of the K hidden layers. `shared`, their activations, is given where nobody
    reads the trace: f_k and h_{k+1} are then the same memory wherever the backward pass needs h alone. All but the
    output f_K have the type of the backend's factors. `backward` says that a backward pass follows.
    """
    xp = ops.xp
    widths = layer_sizes[1:]
    inner = dtype if ops.factor_dtype is None else ops.factor_dtype
    f = [xp.empty((batch, width), inner) for width in widths[:-1]]
    f.append(xp.empty((batch, widths[-1]), dtype))
    h = [xp.empty((batch, width), inner) for width in (0, *widths[:-1])]
    for k, activation in enumerate(shared):
        if activation in GRADIENT_FROM_H:
            h[k + 1] = f[k]
    size = batch * max(widths)
    values, mask = xp.empty(size, dtype), xp.empty(size, bool)  # temporaries, shared by all layers
    ones = xp.ones(batch, dtype)
    return Trace(
        f=f,
        h=h,
        scratch=[
            LayerScratch(
                values=values[: batch * width].reshape(batch, width),
                mask=mask[: batch * width].reshape(batch, width),
                ones=ones,
                signs=_allocate_signs(ops, batch, width) if backward and name == "relu" else None,
            )
            for width, name in zip_longest(widths, shared)
        ],
        dropouts=list(dropouts) if dropouts is not None else [None] * (len(widths) - 1),
    )


def _allocate_signs(ops: Ops, batch: int, width: int) -> Array | None:
    """A bit for each unit, in rows of a multiple of 128 bits, where the backend makes use of them."""
    if not ops.leaves_signs:
        return None
    signs: Array = ops.xp.empty((batch, -(-width // 128) * 16), "uint8")
    return signs


def forward(
    ops: Ops, parameters: ParameterBuffer | Factors, activations: Sequence[str], trace: Trace
) -> None:
    """Fill the trace from its input h[0]."""
    f, h = trace.f, trace.h
    last = len(f) - 1
    layer_forward = ops.layer_forward
    for k, (omega, beta) in enumerate(zip(parameters.weights, parameters.biases, strict=True)):
        h_k = trace.layer_input(k)
        if k < last:
            layer_forward(
                h_k, omega, beta, activations[k], f[k], h[k + 1], trace.scratch[k], trace.dropouts[k]
            )
        else:
            layer_forward(h_k, omega, beta, "identity", f[k], None, trace.scratch[k], None)
