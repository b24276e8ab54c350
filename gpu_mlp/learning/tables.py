"""The rows that a training reads, on the device and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError, ShapeError
from gpu_mlp.network.losses import check_targets, to_targets, to_weights
from gpu_mlp.network.network import Network

__all__ = ["Table", "checked_table"]


@dataclass
class Table:
    """Rows on the device, checked."""

    x: Array
    y: Array
    weights: Array | None

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def arrays(self) -> tuple[Array, Array, Array | None]:
        """x, y and weights: always the same tuple."""
        return self.x, self.y, self.weights


def checked_table(
    network: Network, loss: Loss, what: str, x: Any, y: Any, sample_weight: Any = None
) -> Table:
    """The rows of a table on the network's device; DataError or ShapeError names what it cannot take."""
    ops, outputs, dtype = network.ops, network.layer_sizes[-1], network.dtype
    with np.errstate(over="ignore"):  # what overflows the type is refused below
        inputs = network.to_inputs(x)
        targets = to_targets(ops, loss, y, outputs=outputs, dtype=dtype)
    _refuse_non_finite(ops, what, inputs)
    if len(targets) != len(inputs):
        raise ShapeError(
            f"the {what} has {len(targets)} targets for {len(inputs)} rows; give one target a row"
        )
    check_targets(ops, loss, targets, outputs=outputs)
    weights = None
    if sample_weight is not None:
        with np.errstate(over="ignore"):
            weights = to_weights(ops, sample_weight, rows=len(inputs), dtype=dtype)
            total = float(weights.sum())
        if not bool((weights >= 0).all()) or not 0.0 < total < math.inf:
            raise DataError(
                "sample_weight holds a negative, NaN or infinite weight or nothing but zeros; "
                "give finite weights of at least 0"
            )
    return Table(inputs, targets, weights)


def _refuse_non_finite(ops: Ops, what: str, x: Array) -> None:
    finite = ops.xp.isfinite(x)
    if bool(finite.all()):
        return
    row, column = (int(index) for index in np.argwhere(~ops.to_host(finite))[0])
    raise DataError(
        f"the {what} has {float(x[row, column])} in row {row}, column {column}, as {x.dtype}; "
        "remove or replace values that are missing or too large"
    )
