"""The rows of one mini-batch: their memory, how they are gathered from a table, and their shares of the mean loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpu_mlp.backends.base import Array
from gpu_mlp.config import Loss
from gpu_mlp.network.factors import Factors

__all__ = ["Batch"]


class Batch:
    """Memory for exactly `rows` rows of a network's inputs; nothing is allocated after the first batch.

    `row_shares` is the backend's primitive, or the one of whoever computes with the batch.
    """

    def __init__(
        self, factors: Factors, loss: Loss, layer_sizes: Sequence[int], rows: int, dtype: str
    ) -> None:
        ops = factors.ops
        xp = ops.xp
        self._ops, self._factors = ops, factors
        self.row_shares: Callable[[Array, Array, Array], None] = ops.row_shares
        self.x: Array = xp.empty((rows, layer_sizes[0]), factors.dtype)
        self.weights: Array = xp.empty(rows, dtype)
        self._targets: dict[tuple[Any, ...], Array] = {}  # by what they are: labels, values, their type
        self._factor = loss.factor
        self._total: Array = xp.full((), rows, dtype)
        self._total_is_rows = True
        self._share: Array = xp.empty(rows, dtype)
        self._equal_share: Array = xp.full(rows, loss.factor / rows, dtype)

    def shares(self, weights: Array | None) -> Array:
        """Every row's share of the mean loss, (rows,), times the loss's factor."""
        if weights is None:
            return self._equal_share
        self.row_shares(weights, self._total, self._share)
        if self._factor != 1.0:
            self._ops.xp.multiply(self._share, self._factor, out=self._share)
        return self._share

    def total(self, weights: Array | None) -> Array:
        """Where the sum of the weights stands once their shares were taken, (), or the number of rows without weights.

        Always one array, which a captured step may read.
        """
        if weights is None and not self._total_is_rows:
            self._total.fill(len(self.x))
        self._total_is_rows = weights is None
        return self._total

    def inputs(self, x: Array) -> Array:
        """x (rows, D_0) as the first product reads it: itself, or rounded in the batch's own memory."""
        return self._factors.inputs(x, self.x)

    def targets_like(self, y: Array) -> Array:
        """Memory for the batch's targets, always the same for targets of one kind."""
        kind = (*y.shape[1:], y.ndim, y.dtype)
        if kind not in self._targets:
            self._targets[kind] = self._ops.xp.empty((len(self.x), *y.shape[1:]), y.dtype)
        return self._targets[kind]

    def gather(
        self, x: Array, y: Array, weights: Array | None, index: Array
    ) -> tuple[Array, Array, Array | None]:
        """The rows `index` of a table x (N, D_0), y (N,) or (N, O) and weights (N,)."""
        gather_rows = self._ops.gather_rows
        targets = self.targets_like(y)
        self._ops.gather_factors(x, index, self.x)
        gather_rows(y, index, targets)
        if weights is None:
            return self.x, targets, None
        gather_rows(weights, index, self.weights)
        return self.x, targets, self.weights
