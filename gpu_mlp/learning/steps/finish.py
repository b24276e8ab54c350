"""What stands between the backward pass and the update: the loss's scale, what is reported, the penalty, clipping."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import LossScale

__all__ = ["Finish"]


@dataclass(frozen=True)
class Finish:
    """What is done to the gradients (P,) and the loss () of a batch; called with both, or read by a step of its own.

    Attributes:
        total: the sum of the batch's weights, or its number of rows, ().
        reported: what the loss alone is multiplied with.
        l2_penalty: alpha of the penalty on `weights`, a view of the parameters that has their first elements.
        clip_norm: largest norm of all gradients, or None; `norm` () gets what it was.
        loss_scale: what the loss was scaled with, or None.
    """

    ops: Ops
    scratch: Array
    weights: Array
    total: Array
    reported: float
    l2_penalty: float
    clip_norm: float | None
    norm: Array
    coefficient: Array
    loss_scale: LossScale | None

    def __call__(self, flat: Array, loss: Array) -> None:
        """In place."""
        ops, scratch = self.ops, self.scratch
        if self.loss_scale is not None:
            ops.unscale_gradients(flat, self.loss_scale, scratch)
        if self.reported != 1.0:
            ops.xp.multiply(loss, self.reported, out=loss)
        if self.l2_penalty > 0.0:
            part = flat[: self.weights.size]
            ops.l2_penalty(self.l2_penalty, self.weights, part, self.total, loss, scratch)
        if self.clip_norm is not None:
            ops.clip_global_norm(self.clip_norm, flat, self.norm, self.coefficient, scratch)
