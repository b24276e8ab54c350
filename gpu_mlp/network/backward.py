"""The backward pass: from dL/df_K down to dL/df_0, every bracket used where it was computed before.

dL/dbeta_k = sum over the batch of dL/df_k, dL/dOmega_k = (dL/df_k)^T h_k, dL/dh_k = dL/df_k Omega_k,
dL/df_{k-1} = a'[f_{k-1}] * dL/dh_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gpu_mlp.backends.base import GRADIENT_FROM_H, Array, Ops
from gpu_mlp.backends.records import LayerBelow
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.forward import Trace
from gpu_mlp.network.parameters import LayerViews, ParameterBuffer

__all__ = ["Gradients", "allocate_gradients", "backward"]


@dataclass
class Gradients:
    """Everything a backward pass computed.

    weights[k] (D_{k+1}, D_k) and biases[k] (D_{k+1},) are dL/dOmega_k and dL/dbeta_k; dl_df[k] (B, D_{k+1})
    for k = 0..K; dl_dh[k] (B, D_k) for k = 1..K, None at k = 0, whose input needs no gradient. Only in a traced
    pass is every dl_dh kept.
    """

    buffer: ParameterBuffer = field(repr=False)
    dl_df: list[Array]
    dl_dh: list[Array | None]
    traced: bool

    @property
    def weights(self) -> LayerViews:
        """dL/dOmega_k for every layer."""
        return self.buffer.weights

    @property
    def biases(self) -> LayerViews:
        """dL/dbeta_k for every layer."""
        return self.buffer.biases

    @property
    def flat(self) -> Array:
        """All gradients in the layout of the parameters."""
        return self.buffer.flat


def allocate_gradients(
    ops: Ops, buffer: ParameterBuffer, batch: int, dtype: Any, *, shared: Sequence[str] = ()
) -> Gradients:
    """Memory for a backward pass of `batch` rows that writes its parameter gradients into `buffer`.

    `shared`, the activations of the hidden layers, is given where nobody reads dL/dh: dL/dh_k is then the memory of
    dL/df_{k-1} wherever the activation allows it, and one array for all other layers.
    """
    xp = ops.xp
    sizes = buffer.layout.layer_sizes
    dtype = dtype if ops.factor_dtype is None else ops.factor_dtype
    dl_df = [xp.empty((batch, width), dtype) for width in sizes[1:]]
    if shared:
        apart = [
            width for width, name in zip(sizes[1:-1], shared, strict=True) if name not in GRADIENT_FROM_H
        ]
        memory = xp.empty(batch * max(apart, default=0), dtype)
        dl_dh = [
            dl_df[k] if name in GRADIENT_FROM_H else memory[: dl_df[k].size].reshape(dl_df[k].shape)
            for k, name in enumerate(shared)
        ]
    else:
        dl_dh = [xp.empty((batch, width), dtype) for width in sizes[1:-1]]
    return Gradients(buffer=buffer, dl_df=dl_df, dl_dh=[None, *dl_dh], traced=not shared)


def backward(
    ops: Ops,
    parameters: ParameterBuffer | Factors,
    activations: Sequence[str],
    trace: Trace,
    gradients: Gradients,
) -> None:
    """Fill the gradients from dL/df_K, which stands in `gradients.dl_df[-1]`, and the trace."""
    for k in range(len(trace.f) - 1, -1, -1):
        ops.layer_backward(
            gradients.dl_df[k],
            trace.layer_input(k),
            parameters.weights[k],
            trace.scratch[k],
            gradients.weights[k],
            gradients.biases[k],
            _below(k, activations, trace, gradients),
        )


def _below(k: int, activations: Sequence[str], trace: Trace, gradients: Gradients) -> LayerBelow | None:
    dl_dh = gradients.dl_dh[k]
    if dl_dh is None:
        return None
    return LayerBelow(
        f=trace.f[k - 1],
        h=trace.h[k],
        activation=activations[k - 1],
        dl_dh=dl_dh,
        dl_df=gradients.dl_df[k - 1],
        scratch=trace.scratch[k - 1],
        dropout=trace.dropouts[k - 1],
        traced=gradients.traced,
    )
