"""One layer forward and one layer backward: the page of equations, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpu_mlp.backends.records import Array, Dropout, LayerBelow, LayerScratch
from gpu_mlp.backends.reference.activations import Activation
from gpu_mlp.backends.reference.philox import draw_dropout_multiplier
from gpu_mlp.backends.reference.precisions import Rounding

__all__ = ["layer_backward", "layer_forward"]


def layer_forward(
    xp: Any,
    activations: Mapping[str, Activation],
    rounded: Rounding,
    h: Array,
    omega: Array,
    beta: Array,
    activation: str,
    f: Array,
    h_next: Array | None,
    scratch: LayerScratch,
    dropout: Dropout | None,
) -> None:
    """f_k = h_k Omega_k^T + beta_k and h_{k+1} = a[f_k].

    h (B, I), omega (O, I), beta (O,), f (B, O), h_next (B, O) or None for the last layer, whose output is f. `rounded`
    does nothing but where products have a precision of their own. With dropout, `dropout.kept` = mask * h_{k+1} /
    (1 - rate) is what the next layer reads.
    """
    xp.dot(h, omega.T, out=f)  # f_k = h_k Omega_k^T
    xp.add(f, beta, out=f)  #     + beta_k
    if h_next is None:
        return
    rounded(f)
    activations[activation].value(f, h_next, scratch)  # h_{k+1} = a[f_k]
    rounded(h_next)
    if dropout is not None:
        draw_dropout_multiplier(xp, dropout)
        xp.multiply(h_next, dropout.multiplier, out=dropout.kept)
        rounded(dropout.kept)


def layer_backward(
    xp: Any,
    activations: Mapping[str, Activation],
    rounded: Rounding,
    dl_df: Array,
    h: Array,
    omega: Array,
    scratch: LayerScratch,
    dl_domega: Array,
    dl_dbeta: Array,
    below: LayerBelow | None,
) -> None:
    """dL/dbeta_k, dL/dOmega_k, and dL/df_{k-1} through dL/dh_k.

    dl_df (B, O) and h (B, I) are dL/df_k and h_k as the layer read it; dl_domega (O, I), dl_dbeta (O,); the scratch is
    that of f_k. `below` is None for layer 0, whose input needs no gradient.
    """
    xp.dot(scratch.ones, dl_df, out=dl_dbeta)  # dL/dbeta_k = sum over the batch of dL/df_k
    xp.dot(dl_df.T, h, out=dl_domega)  # dL/dOmega_k = (dL/df_k)^T h_k
    if below is None:
        return
    xp.dot(dl_df, omega, out=below.dl_dh)  # dL/dh_k = dL/df_k Omega_k
    rounded(below.dl_dh)
    if below.dropout is not None:
        draw_dropout_multiplier(xp, below.dropout)
        xp.multiply(below.dl_dh, below.dropout.multiplier, out=below.dl_dh)
    # dL/df_{k-1} = a'[f_{k-1}] * dL/dh_k
    activations[below.activation].gradient(below.f, below.h, below.dl_dh, below.dl_df, below.scratch)
    rounded(below.dl_df)
