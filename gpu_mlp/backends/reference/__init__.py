"""`reference_ops(xp)`: every primitive once, for any array module.

At once the NumPy backend, the plain CuPy backend, and the oracle that kernels are compared with.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.backends.graphs_and_copies import Copies
from gpu_mlp.backends.host_copies import CopiesAtOnce
from gpu_mlp.backends.reference import layers, losses, optimizers, precisions, rows
from gpu_mlp.backends.reference.activations import bind_activations
from gpu_mlp.backends.reference.philox import allocate_philox, draw_bits

__all__ = ["OPTIMIZER_PRIMITIVES", "allocate_philox", "draw_bits", "reference_ops"]

OPTIMIZER_PRIMITIVES = ("sgd", "rmsprop", "adagrad", "adam", "lion")


def reference_ops(
    xp: Any,
    *,
    name: str,
    device: str,
    erf: Callable[..., Any],
    to_device: Callable[[Any], Array],
    to_host: Callable[[Array], np.ndarray[Any, Any]],
    synchronize: Callable[[], None],
    as_array: Callable[[Any], Array] | None = None,
    open_copies: Callable[[], Copies] = CopiesAtOnce,
    free_memory: Callable[[], int | None] = lambda: None,
    elements_at_once: int = sys.maxsize,
) -> Ops:
    """All primitives written with the functions of `xp`, which is `numpy` or a module like it.

    The defaults are those of a device that computes in the host's memory.
    """
    activations = bind_activations(xp, erf)
    gather_rows = partial(rows.gather_rows, xp)
    primitives: dict[str, Any] = {
        **{loss: partial(getattr(losses, loss), xp) for loss in LOSS_NAMES},
        **{
            optimizer: optimizers.unless_skipped(partial(getattr(optimizers, optimizer), xp))
            for optimizer in OPTIMIZER_PRIMITIVES
        },
    }

    def in_precision(precision: str) -> Ops:
        rounded = precisions.rounding(xp, precision)
        return replace(
            ops,
            layer_forward=partial(layers.layer_forward, xp, activations, rounded),
            layer_backward=partial(layers.layer_backward, xp, activations, rounded),
            to_factors=partial(precisions.to_factors, xp, rounded),
            gather_factors=partial(precisions.gather_factors, gather_rows, rounded),
            factor_dtype=np.float32,
        )

    ops = Ops(
        name=name,
        device=device,
        xp=xp,
        elements_at_once=elements_at_once,
        layer_forward=partial(layers.layer_forward, xp, activations, precisions.keep),
        layer_backward=partial(layers.layer_backward, xp, activations, precisions.keep),
        **primitives,
        clip_global_norm=partial(optimizers.clip_global_norm, xp),
        l2_penalty=partial(optimizers.l2_penalty, xp),
        unscale_gradients=partial(precisions.unscale_gradients, xp),
        gather_rows=gather_rows,
        gather_factors=gather_rows,
        row_shares=partial(rows.row_shares, xp),
        as_array=to_device if as_array is None else as_array,
        to_device=to_device,
        to_host=to_host,
        synchronize=synchronize,
        to_factors=partial(precisions.to_factors, xp, precisions.keep),
        in_precision=in_precision,
        open_copies=open_copies,
        free_memory=free_memory,
    )
    return ops
