"""Products whose factors are rounded: TF32, bfloat16 and half precision, with sums in float32.

Every value that a product reads (x, h, dL/df, Omega, beta) is kept in float32 memory and rounded where it is stored, to
nearest with ties to even; the last layer's output, the loss, the gradients of the parameters and the parameters
themselves are not. This is what tensor cores compute, at a CPU's pace, and what kernels are compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from gpu_mlp.backends.records import Array, LossScale

__all__ = [
    "GROWTH_STEPS",
    "LARGEST_HALF",
    "LARGEST_SCALE",
    "SMALLEST_SCALE",
    "TOO_LARGE_FOR_HALF",
    "Rounding",
    "gather_factors",
    "keep",
    "rounding",
    "to_factors",
    "unscale_gradients",
]

# Rounds float32 values in place.
Rounding: TypeAlias = Callable[[Array], None]

# The loss's scale is doubled after so many steps without overflow, as torch.amp.GradScaler does.
GROWTH_STEPS = 2000
# Where it stays: at 0 every gradient would be NaN for ever, as would gradients of 0 be at infinity.
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-14, 2.0**24

# The largest number of half precision, and what is rounded to infinity.
LARGEST_HALF, TOO_LARGE_FOR_HALF = 65504.0, 65520.0

# How many of float32's 23 bits after the leading one are dropped.
_DROPPED_BITS = {"tf32": 13, "bf16": 16}


def keep(_: Array) -> None:
    """The rounding of a network's own type: none."""


def rounding(xp: Any, precision: str) -> Rounding:
    """What rounds an array in place to "tf32", "bf16" or "fp16"."""
    if precision == "fp16":
        return partial(_round_to_half, xp)
    return partial(_drop_bits, xp, _DROPPED_BITS[precision])


def _drop_bits(xp: Any, dropped: int, values: Array) -> None:
    """Half a unit of the last bit kept, less one where that bit is 0, is added before the rest is cut off."""
    bits = values.view(np.uint32)
    last_kept = (bits >> dropped) & 1
    rounded = (bits + ((1 << (dropped - 1)) - 1) + last_kept) & (0xFFFFFFFF << dropped & 0xFFFFFFFF)
    bits[...] = xp.where(xp.isnan(values), bits, rounded)


def _round_to_half(xp: Any, values: Array) -> None:
    """What would round to more than the largest number, 65504, is infinity first: a cast would warn of it."""
    infinite = xp.where(xp.abs(values) >= TOO_LARGE_FOR_HALF, xp.copysign(math.inf, values), values)
    values[...] = infinite.astype(np.float16)


def to_factors(xp: Any, rounded: Rounding, values: Array, scale: Array | None, out: Array) -> None:
    """out = values, or scale * values, rounded: values and out of one shape, scale ()."""
    if scale is None:
        out[...] = values
    else:
        xp.multiply(values, scale, out=out)
    rounded(out)


def gather_factors(
    gather_rows: Callable[[Array, Array, Array], None],
    rounded: Rounding,
    rows: Array,
    index: Array,
    out: Array,
) -> None:
    """out_b = rows[index_b], rounded: rows (N, D), index (B,), out (B, D)."""
    gather_rows(rows, index, out)
    rounded(out)


def unscale_gradients(xp: Any, gradients: Array, loss_scale: LossScale, _: Array) -> None:
    """g <- g / scale; where ||g||^2 is not finite the step is to be skipped and counted, and the scale halved.

    After `GROWTH_STEPS` good steps in a row the scale is doubled (Micikevicius et al., "Mixed precision training",
    2018); it stays between `SMALLEST_SCALE` and `LARGEST_SCALE`. gradients (P,); the last argument is scratch (P,) for
    a backend that adds up in parts.
    """
    scale, steps, skip = loss_scale.scale, loss_scale.steps, loss_scale.skip
    xp.divide(gradients, scale, out=gradients)
    finite = xp.isfinite(xp.dot(gradients, gradients))
    skip[...] = ~finite
    loss_scale.skipped += skip
    steps[...] = xp.where(finite, steps + 1, 0)
    grows = steps >= GROWTH_STEPS
    changed = xp.where(finite, xp.where(grows, 2 * scale, scale), scale / 2)
    scale[...] = xp.clip(changed, SMALLEST_SCALE, LARGEST_SCALE)
    steps[...] = xp.where(grows, 0, steps)
