"""The loss and the metric of rows that are not trained on, a block of rows at a time wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.blas_threads import spread_products
from gpu_mlp.config import Loss
from gpu_mlp.learning.tables import Table
from gpu_mlp.network.losses import evaluate_loss
from gpu_mlp.network.network import Network

__all__ = ["Metric", "accuracy", "default_metric", "validate"]

# A metric of outputs f_K (N, O) and targets, both on the host.
Metric: TypeAlias = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], float]


def validate(
    network: Network, loss: Loss, table: Table, metric: Metric | None, *, precision: str = "auto"
) -> tuple[float, float | None]:
    """The mean loss over all rows, and the metric if there is one.

    The same blocks are evaluated where the table is on the device and where it is on the host: the same bits.
    """
    ops, rows = network.ops, len(table)
    losses: list[tuple[float, Array]] = []
    outputs = None if metric is None else np.empty((rows, network.layer_sizes[-1]), network.dtype)
    with np.errstate(over="ignore", invalid="ignore"), spread_products:
        for block, f in network.output_blocks(table.x.array, precision=precision):
            value, _ = evaluate_loss(ops, loss, f, table.y.rows(ops, block))
            losses.append((len(f) / rows, value))
            if outputs is not None:
                outputs[block] = ops.to_host(f)
    mean = sum(share * float(value) for share, value in losses)
    if metric is None or outputs is None:
        return mean, None
    targets = ops.to_host(table.y.array).astype(table.y.dtype, copy=False)
    return mean, metric(outputs, targets)


def default_metric(loss: Loss) -> Metric | None:
    """What a loss is measured by where nobody says otherwise."""
    metrics: dict[str, Metric] = {
        "softmax_cross_entropy": _class_accuracy,
        "binary_cross_entropy": accuracy,
    }
    return metrics.get(loss.name)


def accuracy(outputs: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """The share of rows whose largest output is at their label; of binary labels, the share on the right side of 0."""
    if labels.ndim == 1:
        return float(np.mean(outputs.argmax(axis=1) == labels))
    return float(np.mean((outputs > 0.0) == (labels > 0.5)))


def _class_accuracy(outputs: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> float:
    """The accuracy of labels, or of probabilities, where the likeliest class is the label."""
    return accuracy(outputs, targets if targets.ndim == 1 else targets.argmax(axis=1))
