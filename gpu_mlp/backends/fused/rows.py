"""A mini-batch by index, and every row's share of the mean loss."""

from __future__ import annotations

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.cuda_kernels import FLOATS, KernelLibrary, c_type
from gpu_mlp.backends.fused.geometry import by_columns, packed, power_of_two

__all__ = ["INSTANTIATIONS", "gather_rows", "row_shares"]

SHARE_THREADS = 1024

INSTANTIATIONS = {
    "rows.cu": (
        *(f"gather_rows<{each}>" for each in (*FLOATS, "long long")),
        *(f"row_shares<{each}>" for each in FLOATS),
    )
}


def gather_rows(kernels: KernelLibrary, rows: Array, index: Array, out: Array) -> None:
    """out_b = rows[index_b]: rows (N, D) or (N,), index (B,), out (B, D) or (B,)."""
    if rows.ndim == 1:
        rows, out = rows[:, None], out[:, None]
    geometry = by_columns(*out.shape, packed(out.itemsize), kernels.multiprocessors)
    kernels.get("rows.cu", f"gather_rows<{c_type(rows)}>")(*geometry, rows, index, out)


def row_shares(kernels: KernelLibrary, weights: Array, total: Array, share: Array) -> None:
    """s_b = w_b / sum(w), all 0 where the weights sum to 0."""
    threads = max(32, power_of_two(weights.size, SHARE_THREADS))
    smallest = float(np.finfo(share.dtype).tiny)
    kernels.get("rows.cu", f"row_shares<{c_type(weights)}>")(
        (1,), (threads,), weights, total, share, smallest
    )
