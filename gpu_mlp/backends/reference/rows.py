"""What prepares a mini-batch: its rows by index, and every row's share of the mean loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array

__all__ = ["gather_rows", "row_shares"]


def gather_rows(xp: Any, rows: Array, index: Array, out: Array) -> None:
    """out_b = rows[index_b]: rows (N, D) or (N,), index (B,) of integers, out (B, D) or (B,)."""
    xp.take(rows, index, axis=0, out=out)


def row_shares(xp: Any, weights: Array, total: Array, share: Array) -> None:
    """s_b = w_b / sum(w): weights (B,), total (), share (B,).

    Where the weights sum to 0 every share is 0 and the total is infinite, so that a penalty over it is 0 as well.
    """
    xp.sum(weights, out=total)
    xp.copyto(total, math.inf, where=total < np.finfo(share.dtype).tiny)
    xp.divide(weights, total, out=share)
