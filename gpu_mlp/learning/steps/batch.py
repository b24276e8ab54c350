"""The rows of one mini-batch: their memory, how they are gathered from a table, and their shares of the mean loss."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_mlp.backends.base import Array, Ops

__all__ = ["Batch"]


class Batch:
    """Memory for exactly `rows` rows of a network's inputs; nothing is allocated after the first batch."""

    def __init__(self, ops: Ops, layer_sizes: Sequence[int], rows: int, dtype: str) -> None:
        xp = ops.xp
        self._ops = ops
        self._x: Array = xp.empty((rows, layer_sizes[0]), dtype)
        self._y: Array | None = None
        self._weights: Array = xp.empty(rows, dtype)
        self._total: Array = xp.empty((), dtype)
        self._share: Array = xp.empty(rows, dtype)
        self._equal_share: Array = xp.full(rows, 1.0 / rows, dtype)

    def shares(self, weights: Array | None) -> Array:
        """Every row's share of the mean loss, (rows,)."""
        if weights is None:
            return self._equal_share
        self._ops.row_shares(weights, self._total, self._share)
        return self._share

    def gather(
        self, x: Array, y: Array, weights: Array | None, index: Array
    ) -> tuple[Array, Array, Array | None]:
        """The rows `index` of a table x (N, D_0), y (N,) or (N, O) and weights (N,)."""
        gather_rows = self._ops.gather_rows
        if self._y is None or self._y.ndim != y.ndim:
            self._y = self._ops.xp.empty((len(self._x), *y.shape[1:]), y.dtype)
        gather_rows(x, index, self._x)
        gather_rows(y, index, self._y)
        if weights is None:
            return self._x, self._y, None
        gather_rows(weights, index, self._weights)
        return self._x, self._y, self._weights
