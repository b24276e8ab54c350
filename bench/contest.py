"""What every comparison of training steps shares: losses are compared first, and ratios come with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu_mlp.benchmark import timing

__all__ = ["COMPARED_STEPS", "LOSS_TOLERANCE", "first_difference", "interval"]

COMPARED_STEPS = 20
LOSS_TOLERANCE = 1e-4


def first_difference(
    ours: Sequence[float], theirs: Sequence[float], tolerance: float = LOSS_TOLERANCE
) -> int | None:
    """The first step, from 1, after which the losses are not the same; None where all are. NaN is never the same."""
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
        if not abs(a - b) <= tolerance * max(abs(b), 1.0) or math.isinf(b):
            return number
    return None


def interval(ratios: Any) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    return timing.interval(timing.resampled_medians(ratios, np.random.default_rng(0)))
