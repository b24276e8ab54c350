"""From an array where it lies to one of the compute type on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.network.sparse_rows import SparseRows

__all__ = ["to_type"]


def to_type(ops: Ops, array: Array | SparseRows, dtype: Any) -> Array:
    """A contiguous array of the type on the device, copied only where needed.

    Where it lies it is converted, so that rows that stay on the host become the same bits a few at a time.
    """
    if isinstance(array, SparseRows):
        array = array[:]
    if isinstance(array, np.ndarray):
        array = np.ascontiguousarray(array, dtype)
    return ops.xp.ascontiguousarray(ops.to_device(array), dtype)  # type: ignore[no-any-return]
