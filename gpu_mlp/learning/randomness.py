"""Which random numbers mean what: epoch order and dropout, from one seed and the counter-based Philox generator.

A number is a function of (seed, purpose, counters), never of what was drawn before it: every backend gets the
same batches and masks, and a resumed run goes on with the numbers of the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.records import Dropout
from gpu_mlp.backends.reference import allocate_philox, draw_bits

__all__ = ["allocate_dropouts", "buffer_order", "epoch_order", "philox_key"]

# The stream's second word: dropout uses the layer's number, epoch order one above all layers.
EPOCH_ORDER_STREAM = 2**31


def philox_key(seed: int) -> tuple[int, int]:
    """The generator's two 32-bit key words of a 64-bit seed."""
    return seed & 0xFFFFFFFF, seed >> 32


def epoch_order(seed: int, epoch: int, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A permutation of 0..rows-1: rows in the order of one random 64-bit number each, int64."""
    return _order(seed, (epoch, EPOCH_ORDER_STREAM), rows)


def buffer_order(seed: int, epoch: int, buffer: int, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A permutation of 0..rows-1 for one buffer of a source; each of the first 2**31 - 1 buffers has its own."""
    return _order(seed, (epoch, EPOCH_ORDER_STREAM + 1 + buffer % (2**31 - 1)), rows)


def _order(seed: int, counters: tuple[int, int], rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    bits = draw_bits(np, allocate_philox(np, 2 * rows), philox_key(seed), counters)
    keys = bits.reshape(-1).view(np.uint64)[:rows]
    order = np.argsort(keys)
    ordered = keys[order]
    if (
        ordered[1:] == ordered[:-1]
    ).any():  # once in a blue moon; only the slower sort says which of two is first
        order = np.argsort(keys, kind="stable")
    return order.astype(np.int64, copy=False)


def allocate_dropouts(
    ops: Ops,
    layer_sizes: Sequence[int],
    rows: int,
    dtype: Any,
    *,
    rate: float,
    seed: int,
    first_row: int = 0,
) -> list[Dropout | None]:
    """Dropout of every hidden layer with its memory, or None for each where the rate is 0.

    The masks are those of the rows from `first_row` on, a multiple of 4, in a larger batch.
    """
    xp = ops.xp
    if rate == 0.0:
        return [None] * (len(layer_sizes) - 2)
    drawn = 0 if ops.draws_masks else rows
    return [
        Dropout(
            rate=rate,
            key=philox_key(seed),
            layer=layer,
            kept=xp.empty((rows, width), dtype),
            multiplier=xp.empty((drawn, width), dtype),
            scratch=allocate_philox(xp, drawn * width, first=first_row * width),
        )
        for layer, width in enumerate(layer_sizes[1:-1])
    ]
