"""The scale of the loss in half precision, whose smallest number is 6e-8: gradients below it would vanish.

dL/df_K is multiplied by a power of 2 before it is rounded; every gradient comes out multiplied by it, and is divided by
it before the update. A step whose gradients are not finite changes nothing but the scale, which is halved; after many
good steps it is doubled (Micikevicius et al., "Mixed precision training", 2018). A skipped step counts as one for the
schedule and for the optimizer's bias correction. Where even the smallest scale lets no step of an epoch through, the
gradients themselves are not finite.
"""

from __future__ import annotations

import numpy as np

from gpu_mlp.backends.base import LossScale, Ops

__all__ = ["FIRST_SCALE", "allocate_loss_scale", "take_skipped"]

# As torch.amp.GradScaler begins; the first steps halve it where it is too large.
FIRST_SCALE = 2.0**16


def allocate_loss_scale(ops: Ops) -> LossScale:
    """A scale to begin with."""
    return LossScale(
        scale=ops.xp.full((), FIRST_SCALE, np.float32),
        steps=ops.xp.zeros((), np.int32),
        skip=ops.xp.zeros((), np.int32),
        skipped=ops.xp.zeros((), np.int32),
    )


def take_skipped(loss_scale: LossScale) -> int:
    """How many steps were skipped since this was last asked; waits for the device."""
    skipped = int(loss_scale.skipped)
    loss_scale.skipped.fill(0)
    return skipped
