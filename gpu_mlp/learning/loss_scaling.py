"""The scale of the loss in half precision, whose smallest number is 6e-8: gradients below it would vanish.

dL/df_K is multiplied by a power of 2 before it is rounded; every gradient comes out multiplied by it, and is divided by
it before the update. A step whose gradients are not finite changes nothing but the scale, which is halved; after many
good steps it is doubled (Micikevicius et al., "Mixed precision training", 2018). A skipped step counts as one for the
schedule and for the optimizer's bias correction. Where even the smallest scale lets no step of an epoch through, the
gradients themselves are not finite.
"""

from __future__ import annotations

import logging

import numpy as np

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.records import LossScale
from gpu_mlp.backends.reference.precisions import GROWTH_STEPS, SMALLEST_SCALE

__all__ = ["FIRST_SCALE", "all_skipped", "allocate_loss_scale"]

logger = logging.getLogger("gpu_mlp")

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


def all_skipped(loss_scale: LossScale, steps: int, epoch: int) -> bool:
    """Whether all steps of an epoch were skipped and no smaller scale is left; a warning where many were.

    Waits for the device, and counts anew from here.
    """
    skipped = int(loss_scale.skipped)
    loss_scale.skipped.fill(0)
    if skipped == steps and float(loss_scale.scale) <= SMALLEST_SCALE:
        return True
    # The first epoch looks for a scale, and one that has grown may have to be taken back.
    if epoch > 1 and skipped > 1 + steps // GROWTH_STEPS:
        logger.warning(
            "%d of %d steps of epoch %d were skipped, since a gradient overflowed half precision; "
            "scale the inputs and targets, or use bf16",
            *(skipped, steps, epoch),
        )
    return False
