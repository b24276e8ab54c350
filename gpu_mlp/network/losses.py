"""The losses as functions of outputs and targets: checks, memory and a call of the backend's primitive.

Each returns (L, dL/df_K) with L the mean over the batch, weighted by `sample_weight` w as sum(w_b l_b) / sum(w).
L is an array of shape () on the device of `f`; dL/df_K has the shape of f.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import LossScratch
from gpu_mlp.backends.select import ops_of
from gpu_mlp.config import Loss
from gpu_mlp.errors import ShapeError
from gpu_mlp.network.placing import to_type

__all__ = [
    "absolute_error",
    "allocate_loss_scratch",
    "as_targets",
    "as_weights",
    "binary_cross_entropy",
    "check_targets",
    "evaluate_loss",
    "huber",
    "poisson",
    "quantile",
    "softmax_cross_entropy",
    "squared_error",
    "target_type",
    "to_targets",
    "to_weights",
]


def squared_error(f: Any, y: Any, *, sample_weight: Any = None) -> tuple[Array, Array]:
    """l_b = sum_o (f_bo - y_bo)^2, dl/df = 2 (f - y); f and y (B, O)."""
    return _loss(Loss("squared_error"), f, y, sample_weight)


def absolute_error(f: Any, y: Any, *, sample_weight: Any = None) -> tuple[Array, Array]:
    """l_b = sum_o |f_bo - y_bo|, dl/df = sign(f - y); f and y (B, O)."""
    return _loss(Loss("absolute_error"), f, y, sample_weight)


def huber(f: Any, y: Any, *, delta: float = 1.0, sample_weight: Any = None) -> tuple[Array, Array]:
    """l_b = sum_o e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = f - y (Huber, 1964).

    f and y (B, O).
    """
    return _loss(Loss("huber", huber_delta=delta), f, y, sample_weight)


def quantile(f: Any, y: Any, *, quantile: float = 0.5, sample_weight: Any = None) -> tuple[Array, Array]:
    """l_b = sum_o (1 - q) e above the target and -q e below it, e = f - y (Koenker and Bassett, 1978).

    f and y (B, O).
    """
    return _loss(Loss("quantile", quantile=quantile), f, y, sample_weight)


def poisson(f: Any, y: Any, *, sample_weight: Any = None) -> tuple[Array, Array]:
    """l_b = sum_o exp(f_bo) - y_bo f_bo, dl/df = exp(f) - y: f is the log of the rate; f and y (B, O), y >= 0.

    Above f = 50 exp goes on along its tangent.
    """
    return _loss(Loss("poisson"), f, y, sample_weight)


def binary_cross_entropy(f: Any, y: Any, *, sample_weight: Any = None) -> tuple[Array, Array]:
    """l_b = sum_o log(1 + exp(f_bo)) - y_bo f_bo in nats, dl/df = sigmoid(f) - y.

    Logits f (B, O), y (B, O) in [0, 1].
    """
    return _loss(Loss("binary_cross_entropy"), f, y, sample_weight)


def softmax_cross_entropy(
    f: Any, y: Any, *, label_smoothing: float = 0.0, sample_weight: Any = None
) -> tuple[Array, Array]:
    """l_b = -sum_o t_bo log softmax(f_b)_o in nats, dl/df = softmax(f) - t; logits f (B, O).

    y holds labels 0..O-1 (B,) or probabilities (B, O); t is (1 - s) y + s / O of their one-hot form for label
    smoothing s.
    """
    return _loss(Loss("softmax_cross_entropy", label_smoothing=label_smoothing), f, y, sample_weight)


def _loss(loss: Loss, f: Any, y: Any, sample_weight: Any) -> tuple[Array, Array]:
    ops = ops_of(f)
    f = ops.to_device(f)
    if f.ndim != 2:
        raise ShapeError(f"outputs f have shape {f.shape}, but must be (batch, outputs)")
    if f.dtype.kind not in "fciub":
        raise ShapeError(f"outputs f have type {f.dtype}, but must be numbers")
    if f.dtype.kind not in "fc":
        f = f.astype(np.float64)
    y = to_targets(ops, loss, y, outputs=f.shape[1], dtype=f.dtype)
    check_targets(ops, loss, y, outputs=f.shape[1])
    if len(y) != len(f):
        raise ShapeError(f"targets have {len(y)} rows, but the outputs have {len(f)}; give one target a row")
    return evaluate_loss(ops, loss, f, y, sample_weight)


def evaluate_loss(ops: Ops, loss: Loss, f: Array, y: Array, sample_weight: Any = None) -> tuple[Array, Array]:
    """The loss of checked targets, in fresh memory."""
    xp = ops.xp
    rows, outputs = f.shape
    share = xp.full(rows, loss.factor / rows, f.dtype)
    if sample_weight is not None:
        weights = to_weights(ops, sample_weight, rows=rows, dtype=f.dtype)
        ops.row_shares(weights, xp.empty((), f.dtype), share)
        if loss.factor != 1.0:
            xp.multiply(share, loss.factor, out=share)
    value, dl_df = xp.empty((), f.dtype), xp.empty(f.shape, f.dtype)
    scratch = allocate_loss_scratch(ops, rows, outputs, f.dtype)
    getattr(ops, loss.name)(f, y, share, value, dl_df, scratch, **loss.parameters)
    if loss.reported != 1.0:
        xp.multiply(value, loss.reported, out=value)
    return value, dl_df


def allocate_loss_scratch(ops: Ops, batch: int, outputs: int, dtype: Any) -> LossScratch:
    """Memory for any loss of `batch` rows."""
    xp = ops.xp
    return LossScratch(
        values=xp.empty((batch, outputs), dtype),
        targets=xp.empty((batch, outputs), dtype),
        row=xp.empty((batch, 1), dtype),
        row_sum=xp.empty(batch, dtype),
        ones=xp.ones(outputs, dtype),
        classes=xp.arange(outputs, dtype=xp.int64)[None, :],
    )


def as_targets(loss: Loss, array: Array, *, outputs: int) -> Array:
    """Targets where they lie, labels (B,) or (B, O), of any type of number.

    A target of shape (B,) stands for (B, 1) where the network has one output. Raises ShapeError for any other
    shape and for labels that are not whole numbers.
    """
    if loss.name == "softmax_cross_entropy" and array.ndim == 1:
        if array.dtype.kind not in "iub":
            raise ShapeError(
                f"softmax_cross_entropy was given labels of type {array.dtype}; give whole numbers 0 to {outputs - 1}, "
                f"or probabilities of shape (batch, {outputs})"
            )
        return array
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"targets have type {array.dtype}, but {loss.name} takes numbers")
    if array.ndim == 1 and outputs == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != outputs:
        raise ShapeError(f"targets have shape {array.shape}, but {loss.name} needs (batch, {outputs})")
    return array


def target_type(targets: Array, dtype: Any) -> Any:
    """What the primitive reads: int64 for labels (B,), else the compute type."""
    return np.int64 if targets.ndim == 1 else dtype


def to_targets(ops: Ops, loss: Loss, y: Any, *, outputs: int, dtype: Any) -> Array:
    """Targets as the primitive reads them: int64 labels (B,), or (B, O) in the compute type; copied only where needed.

    Raises ShapeError as `as_targets` does.
    """
    targets = as_targets(loss, ops.as_array(y), outputs=outputs)
    return to_type(ops, targets, target_type(targets, dtype))


def as_weights(array: Array, *, rows: int) -> Array:
    """Sample weights (B,) where they lie, of any type of number; ShapeError for another shape or type."""
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"sample_weight has type {array.dtype}, but must be numbers")
    if array.shape != (rows,):
        raise ShapeError(f"sample_weight has shape {array.shape}, but must be ({rows},), one weight a row")
    return array


def to_weights(ops: Ops, sample_weight: Any, *, rows: int, dtype: Any) -> Array:
    """Sample weights (B,) in the compute type, copied only where needed; ShapeError for another shape or type."""
    return to_type(ops, as_weights(ops.as_array(sample_weight), rows=rows), dtype)


def check_targets(ops: Ops, loss: Loss, y: Array, *, outputs: int) -> None:
    """Raise ShapeError where targets are out of the loss's range; reads values, so it waits for the device."""
    xp = ops.xp
    if len(y) == 0:
        raise ShapeError("targets have no rows; give at least one")
    if y.ndim == 1:
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= outputs:
            raise ShapeError(
                f"labels reach from {low} to {high}, but a network with {outputs} outputs takes 0 to {outputs - 1}"
            )
        return
    if not bool(xp.isfinite(y).all()):
        raise ShapeError(
            f"targets hold NaN, infinity or a number too large for {y.dtype}; remove or replace it"
        )
    name = loss.name
    if name == "poisson" and bool((y < 0).any()):
        raise ShapeError(f"targets reach down to {float(y.min()):g}, but poisson takes counts of at least 0")
    if name in ("binary_cross_entropy", "softmax_cross_entropy") and bool(((y < 0) | (y > 1)).any()):
        raise ShapeError(
            f"targets reach from {float(y.min()):g} to {float(y.max()):g}, but {name} takes probabilities from 0 to 1"
        )
    if name == "softmax_cross_entropy" and bool((abs(y.sum(axis=1) - 1.0) > 1e-3).any()):
        raise ShapeError("probabilities of a row do not sum to 1; divide each row by its sum")
