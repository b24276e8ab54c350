"""`fused_ops(reference, ...)`: the primitives of `reference/` as launches of the kernels in `cuda/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.cuda_kernels import KernelLibrary
from gpu_mlp.backends.fused import clock, graphs, layers, losses, optimizers, precisions, rows
from gpu_mlp.backends.fused.products import DotProducts, Products
from gpu_mlp.backends.graphs_and_copies import Captured

__all__ = ["INSTANTIATIONS", "DotProducts", "Products", "fused_ops"]

# Every kernel that can be asked for, by file: what is compiled by a test without a GPU.
INSTANTIATIONS: Mapping[str, tuple[str, ...]] = {
    **layers.INSTANTIATIONS,
    **losses.INSTANTIATIONS,
    **optimizers.INSTANTIATIONS,
    **precisions.INSTANTIATIONS,
    "rows.cu": (
        *clock.INSTANTIATIONS["rows.cu"],
        *rows.INSTANTIATIONS["rows.cu"],
        *graphs.INSTANTIATIONS["rows.cu"],
    ),
}


def fused_ops(
    reference: Ops,
    name: str,
    kernels: KernelLibrary,
    products: Products,
    capture: Callable[[Callable[[], None]], Captured] | None = None,
) -> Ops:
    """`reference` with everything replaced that a kernel does in one go.

    `capture` makes a graph of launches; without it, or with products that cannot be captured, steps are plain launches.
    """
    xp = reference.xp
    the_clock = clock.Clock(kernels, xp.zeros(8, np.float64))
    never, one = xp.zeros((), np.int32), xp.ones((), np.float32)
    make_layers = partial(layers.FusedLayers, kernels, clock=the_clock, zeros=xp.zeros)
    fused_layers = make_layers(products)
    loss = partial(losses.fused_loss, kernels)
    optimizer = partial(optimizers.fused_optimizer, kernels, the_clock, never)
    gather_rows = partial(rows.gather_rows, kernels)
    ops = replace(
        reference,
        name=name,
        layer_forward=fused_layers.forward,
        layer_backward=fused_layers.backward,
        squared_error=loss("squared_error"),
        absolute_error=loss("absolute_error"),
        huber=loss("huber"),
        quantile=loss("quantile"),
        poisson=loss("poisson"),
        binary_cross_entropy=loss("binary_cross_entropy"),
        softmax_cross_entropy=loss("softmax_cross_entropy"),
        sgd=optimizer("sgd"),
        rmsprop=optimizer("rmsprop"),
        adagrad=optimizer("adagrad"),
        adam=optimizer("adam"),
        lion=optimizer("lion"),
        clip_global_norm=partial(optimizers.clip_global_norm, kernels),
        l2_penalty=partial(optimizers.l2_penalty, kernels),
        unscale_gradients=partial(optimizers.unscale_gradients, kernels),
        gather_rows=gather_rows,
        gather_factors=gather_rows,
        row_shares=partial(rows.row_shares, kernels),
        to_factors=partial(precisions.to_factors, kernels, one),
        in_precision=precisions.precision_chooser(lambda: ops, products, make_layers),
        leaves_signs=products.leaves_signs,
        draws_masks=True,
        graphs=graphs.FusedGraphs(kernels, the_clock, capture) if capture and products.captures else None,
    )
    return ops
