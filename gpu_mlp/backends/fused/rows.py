"""A mini-batch by index, and every row's share of the mean loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.cuda_kernels import FLOATS, HALVES, KernelLibrary, c_type
from gpu_mlp.backends.fused.geometry import by_columns, one_block, packed

__all__ = ["GATHERED", "INSTANTIATIONS", "gather_rows", "launch_gather", "row_shares"]

# What is gathered, and what it becomes.
GATHERED = tuple((each, each) for each in (*FLOATS, "long long")) + tuple(("float", half) for half in HALVES)

INSTANTIATIONS = {
    "rows.cu": (
        *(f"gather_rows<{given}, {to}>" for given, to in GATHERED),
        *(f"row_shares<{each}>" for each in FLOATS),
    )
}


def gather_rows(kernels: KernelLibrary, rows: Array, index: Array, out: Array) -> None:
    """out_b = rows[index_b]: rows (N, D) or (N,), index (B,), out (B, D) or (B,), rounded where it is a half type."""
    launch_gather(kernels, "gather_rows", rows, (index,), out)


def launch_gather(
    kernels: KernelLibrary, name: str, rows: Array, where: Sequence[Array], out: Array, *more: int
) -> None:
    """A kernel that gathers rows (N, D) or (N,) into out (B, D) or (B,), told by the arrays `where`."""
    if rows.ndim == 1:
        rows, out = rows[:, None], out[:, None]
    geometry = by_columns(*out.shape, packed(rows.itemsize), kernels.multiprocessors)
    kernels.get("rows.cu", f"{name}<{c_type(rows)}, {c_type(out)}>")(*geometry, rows, *where, out, *more)


def row_shares(kernels: KernelLibrary, weights: Array, total: Array, share: Array) -> None:
    """As `reference.rows.row_shares`."""
    kernel = kernels.get("rows.cu", f"row_shares<{c_type(weights)}>")
    smallest = float(np.finfo(share.dtype).tiny)
    kernel(*one_block(weights.size), weights, total, share, smallest, math.inf)
