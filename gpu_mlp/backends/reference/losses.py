"""Every loss: its mean over the batch and its gradient dL/df_K, for any array module.

Shapes: f and dl_df (B, O), y (B, O) unless a docstring says otherwise, share (B,), loss (). With sample weights
w_b a row's share of the mean is s_b = w_b / sum(w); without, s_b = 1 / B:

    L = sum_b s_b l_b,    dL/df_b = s_b dl_b/df_b

where l_b sums over the O outputs. All stay finite at |f| = 1e4.
"""

from __future__ import annotations

from typing import Any

from gpu_mlp.backends.records import Array, LossScratch
from gpu_mlp.backends.reference.activations import sigmoid_into

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "huber",
    "poisson",
    "quantile",
    "softmax_cross_entropy",
    "squared_error",
]

POISSON_LARGEST_LOG_RATE = 50.0


def _mean(xp: Any, values: Array, share: Array, loss: Array, scratch: LossScratch) -> None:
    """L = sum_b s_b sum_o values_bo"""
    xp.dot(values, scratch.ones, out=scratch.row_sum)
    xp.dot(scratch.row_sum, share, out=loss)


def squared_error(
    xp: Any, f: Array, y: Array, share: Array, loss: Array, dl_df: Array, scratch: LossScratch
) -> None:
    """l = sum_o (f - y)^2,   dl/df = 2 (f - y)"""
    xp.subtract(f, y, out=dl_df)
    xp.multiply(dl_df, dl_df, out=scratch.values)
    _mean(xp, scratch.values, share, loss, scratch)
    xp.multiply(dl_df, 2.0, out=dl_df)
    xp.multiply(dl_df, share[:, None], out=dl_df)


def absolute_error(
    xp: Any, f: Array, y: Array, share: Array, loss: Array, dl_df: Array, scratch: LossScratch
) -> None:
    """l = sum_o |f - y|,   dl/df = sign(f - y), 0 where f = y"""
    error = scratch.values
    xp.subtract(f, y, out=error)
    xp.sign(error, out=dl_df)
    _absolute(xp, error, scratch.targets)
    _mean(xp, error, share, loss, scratch)
    xp.multiply(dl_df, share[:, None], out=dl_df)


def _absolute(xp: Any, values: Array, scratch: Array) -> None:
    """In place |v| = max(v, -v), which keeps the analytic branch of a complex v."""
    xp.negative(values, out=scratch)
    xp.maximum(values, scratch, out=values)


def huber(
    xp: Any,
    f: Array,
    y: Array,
    share: Array,
    loss: Array,
    dl_df: Array,
    scratch: LossScratch,
    *,
    delta: float,
) -> None:
    """l = sum_o e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), e = f - y (Huber, 1964).

    With the clipped error q = min(|e|, delta) both are q (|e| - q / 2);  dl/df = clip(e, -delta, delta).
    """
    error, clipped = scratch.values, scratch.targets
    xp.subtract(f, y, out=error)
    xp.maximum(error, -delta, out=dl_df)
    xp.minimum(dl_df, delta, out=dl_df)
    _absolute(xp, error, clipped)
    xp.minimum(error, delta, out=clipped)
    xp.multiply(error, clipped, out=error)
    xp.multiply(clipped, clipped, out=clipped)
    xp.multiply(clipped, 0.5, out=clipped)
    xp.subtract(error, clipped, out=error)
    _mean(xp, error, share, loss, scratch)
    xp.multiply(dl_df, share[:, None], out=dl_df)


def quantile(
    xp: Any,
    f: Array,
    y: Array,
    share: Array,
    loss: Array,
    dl_df: Array,
    scratch: LossScratch,
    *,
    quantile: float,
) -> None:
    """l = sum_o |e| / 2 + (1/2 - q) e, e = f - y: (1 - q) e above the target and -q e below it.

    dl/df = sign(e) / 2 + 1/2 - q (Koenker and Bassett, 1978); its minimum is the q-quantile of y.
    """
    error, tilted = scratch.values, scratch.targets
    xp.subtract(f, y, out=error)
    xp.sign(error, out=dl_df)
    xp.multiply(dl_df, 0.5, out=dl_df)
    xp.add(dl_df, 0.5 - quantile, out=dl_df)
    xp.multiply(error, 1.0 - quantile, out=tilted)
    xp.multiply(error, -quantile, out=error)
    xp.maximum(error, tilted, out=error)
    _mean(xp, error, share, loss, scratch)
    xp.multiply(dl_df, share[:, None], out=dl_df)


def poisson(
    xp: Any, f: Array, y: Array, share: Array, loss: Array, dl_df: Array, scratch: LossScratch
) -> None:
    """l = sum_o exp(f) - y f, dl/df = exp(f) - y: the Poisson log likelihood with log link, less log(y!).

    Above f = 50 (a rate of 5e21) exp goes on along its tangent, exp(50) (1 + f - 50), which keeps loss and
    gradient finite and the loss convex.
    """
    capped, rate = scratch.targets, scratch.values
    xp.minimum(f, POISSON_LARGEST_LOG_RATE, out=capped)
    xp.exp(capped, out=rate)
    xp.subtract(rate, y, out=dl_df)
    xp.subtract(f, capped, out=capped)
    xp.add(capped, 1.0, out=capped)
    xp.multiply(rate, capped, out=rate)
    xp.multiply(y, f, out=capped)
    xp.subtract(rate, capped, out=rate)
    _mean(xp, rate, share, loss, scratch)
    xp.multiply(dl_df, share[:, None], out=dl_df)


def binary_cross_entropy(
    xp: Any, f: Array, y: Array, share: Array, loss: Array, dl_df: Array, scratch: LossScratch
) -> None:
    """l = sum_o log(1 + exp(f)) - y f = sum_o max(f, 0) - y f + log(1 + exp(-|f|)), y in [0, 1].

    dl/df = 1 / (1 + exp(-f)) - y. f are logits, one per label.
    """
    terms, log_term = scratch.values, scratch.targets
    xp.negative(f, out=log_term)
    xp.minimum(f, log_term, out=log_term)
    xp.exp(log_term, out=log_term)
    xp.log1p(log_term, out=log_term)
    xp.maximum(f, 0.0, out=terms)
    xp.multiply(y, f, out=dl_df)
    xp.subtract(terms, dl_df, out=terms)
    xp.add(terms, log_term, out=terms)  # last, so that a small logarithm is not lost beside a large f
    _mean(xp, terms, share, loss, scratch)
    sigmoid_into(xp, f, dl_df)
    xp.subtract(dl_df, y, out=dl_df)
    xp.multiply(dl_df, share[:, None], out=dl_df)


def softmax_cross_entropy(
    xp: Any,
    f: Array,
    y: Array,
    share: Array,
    loss: Array,
    dl_df: Array,
    scratch: LossScratch,
    *,
    label_smoothing: float,
) -> None:
    """l = -sum_o t_o log p_o, p = softmax(f), dl/df = p - t.

    y is labels (B,) of integers or probabilities (B, O) whose rows sum to 1; the targets t are their one-hot form
    or themselves, smoothed to (1 - s) t + s / O (Szegedy et al., 2016). log p = z - log sum exp z, z = f - max f.
    """
    targets, probabilities, row = scratch.targets, scratch.values, scratch.row
    if y.ndim == 1:
        xp.equal(y[:, None], scratch.classes, out=targets)
    else:
        targets[...] = y
    if label_smoothing > 0.0:
        xp.multiply(targets, 1.0 - label_smoothing, out=targets)
        xp.add(targets, label_smoothing / f.shape[1], out=targets)

    f.max(axis=1, out=row, keepdims=True)
    xp.subtract(f, row, out=dl_df)  # z
    xp.exp(dl_df, out=probabilities)
    xp.dot(probabilities, scratch.ones, out=scratch.row_sum)
    xp.divide(probabilities, scratch.row_sum[:, None], out=probabilities)  # p
    xp.log(scratch.row_sum[:, None], out=row)
    xp.subtract(row, dl_df, out=dl_df)  # -log p
    xp.multiply(dl_df, targets, out=dl_df)
    _mean(xp, dl_df, share, loss, scratch)
    xp.subtract(probabilities, targets, out=dl_df)
    xp.multiply(dl_df, share[:, None], out=dl_df)
