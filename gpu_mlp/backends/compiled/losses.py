"""Every loss of a batch: adds L = sum_b s_b l_b to what stands there, and writes dL/df_b = s_b dl_b/df_b.

f and dl_df (B, O), targets (B, O), labels (B,) where softmax is given those, share (B,) = s_b. The formulas are those
of `backends.reference.losses`, where their sources stand. L is summed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import carray, types

from gpu_mlp.backends.compiled.exponential import exp, sigmoid
from gpu_mlp.backends.compiled.machine_code import (
    address_of,
    like,
    loop_formula,
    pointer_to,
    sum_formula,
)
from gpu_mlp.backends.reference.losses import POISSON_LARGEST_LOG_RATE

__all__ = ["EACH_OUTPUT", "loss_address"]

Loop = Callable[..., None]


@loop_formula
def squared_error(f: Any, y: Any, _: Any) -> Any:
    """(f - y)^2 and 2 (f - y)"""
    error = f - y
    return error * error, error + error


@loop_formula
def absolute_error(f: Any, y: Any, _: Any) -> Any:
    """|f - y| and its sign"""
    error = f - y
    return abs(error), np.sign(error)


@loop_formula
def huber(f: Any, y: Any, delta: Any) -> Any:
    """q (|e| - q / 2) with q = min(|e|, delta), and e between -delta and delta; e = f - y"""
    error = f - y
    clipped = min(abs(error), delta)
    return clipped * (abs(error) - like(f, 0.5) * clipped), min(max(error, -delta), delta)


@loop_formula
def quantile_error(f: Any, y: Any, quantile: Any) -> Any:
    """max((1 - q) e, -q e) and sign(e) / 2 + 1/2 - q, e = f - y"""
    error, half, one = f - y, like(f, 0.5), like(f, 1.0)
    return max((one - quantile) * error, -quantile * error), half * np.sign(error) + (half - quantile)


@loop_formula
def poisson(f: Any, y: Any, _: Any) -> Any:
    """exp(f) - y f and exp(f) - y, exp along its tangent above 50"""
    capped = min(f, like(f, POISSON_LARGEST_LOG_RATE))
    rate = exp(capped)
    return rate * (f - capped + like(f, 1.0)) - y * f, rate - y


@loop_formula
def binary_cross_entropy(f: Any, y: Any, _: Any) -> Any:
    """max(f, 0) - y f + log(1 + exp(-|f|)) and the sigmoid of f less y"""
    return max(f, like(f, 0.0)) - y * f + np.log1p(exp(-abs(f))), sigmoid(f) - y


def _each_output(formula: Callable[..., Any]) -> Loop:
    """The loss of a formula that takes every output by itself."""

    def loop(
        f: Any, y: Any, share: Any, parameter: Any, dl_df: Any, loss: Any, rows: int, outputs: int
    ) -> None:
        f_bo, y_bo, d_bo = (
            carray(f, (rows, outputs)),
            carray(y, (rows, outputs)),
            carray(dl_df, (rows, outputs)),
        )
        total = 0.0
        for b in range(rows):
            row, s_b = like(f_bo[0, 0], 0.0), share[b]
            for o in range(outputs):
                value, slope = formula(f_bo[b, o], y_bo[b, o], like(f_bo[b, o], parameter))
                row += value
                d_bo[b, o] = slope * s_b
            total += row * s_b
        loss[0] += total

    return loop


@sum_formula
def sum_of(values: Any) -> Any:
    """In the values' own type."""
    total = like(values[0], 0.0)
    for i in range(values.size):
        total += values[i]
    return total


@loop_formula
def exponentials(f_o: Any, p_o: Any) -> Any:
    """p <- softmax(f) of a row; returns max f and log sum exp z, z = f - max f"""
    largest = f_o[0]
    for o in range(1, f_o.size):
        largest = max(largest, f_o[o])
    for o in range(f_o.size):
        p_o[o] = exp(f_o[o] - largest)
    total = sum_of(p_o)
    for o in range(f_o.size):
        p_o[o] /= total
    return largest, like(largest, math.log(total))


def softmax_of_labels(
    f: Any, y: Any, share: Any, smoothing: Any, dl_df: Any, loss: Any, rows: int, outputs: int
) -> None:
    """-sum_o t_o log p_o and p - t, t one-hot, smoothed to (1 - s) t + s / O"""
    f_bo, d_bo = carray(f, (rows, outputs)), carray(dl_df, (rows, outputs))
    kept, spread = like(f_bo[0, 0], 1.0 - smoothing), like(f_bo[0, 0], smoothing / outputs)
    total = 0.0
    for b in range(rows):
        largest, log_sum = exponentials(f_bo[b], d_bo[b])
        row, label, s_b = like(kept, 0.0), y[b], share[b]
        if 0 <= label < outputs:  # as in a one-hot row, which is 0 for any other number
            row += kept * (log_sum - (f_bo[b, label] - largest))
            d_bo[b, label] -= kept
        if smoothing > 0:
            for o in range(outputs):
                row += spread * (log_sum - (f_bo[b, o] - largest))
                d_bo[b, o] -= spread
        for o in range(outputs):
            d_bo[b, o] *= s_b
        total += row * s_b
    loss[0] += total


def softmax_of_probabilities(
    f: Any, y: Any, share: Any, smoothing: Any, dl_df: Any, loss: Any, rows: int, outputs: int
) -> None:
    """The same with targets t of their own"""
    f_bo, d_bo = carray(f, (rows, outputs)), carray(dl_df, (rows, outputs))
    y_bo = carray(y, (rows, outputs))
    kept, spread = like(f_bo[0, 0], 1.0 - smoothing), like(f_bo[0, 0], smoothing / outputs)
    total = 0.0
    for b in range(rows):
        largest, log_sum = exponentials(f_bo[b], d_bo[b])
        row, s_b = like(kept, 0.0), share[b]
        for o in range(outputs):
            target = kept * y_bo[b, o] + spread
            row += target * (log_sum - (f_bo[b, o] - largest))
            d_bo[b, o] = (d_bo[b, o] - target) * s_b
        total += row * s_b
    loss[0] += total


EACH_OUTPUT: dict[str, Callable[..., Any]] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "quantile": quantile_error,
    "poisson": poisson,
    "binary_cross_entropy": binary_cross_entropy,
}


@cache
def loss_address(name: str, dtype: str, *, labels: bool) -> int:
    """Of (f, y, share, parameter, dl_df, loss, B, O), which writes dL/df and adds to L.

    y are labels (B,) or values (B, O);
    parameter and loss are float64; the parameter is the loss's one, or any number where it has none.
    """
    if labels:
        loop: Loop = softmax_of_labels
    elif name == "softmax_cross_entropy":
        loop = softmax_of_probabilities
    else:
        loop = _each_output(EACH_OUTPUT[name])
    number = pointer_to(dtype)
    y = pointer_to("int64") if labels else number
    sizes = (types.int64, types.int64)
    kinds = (number, y, number, types.float64, number, pointer_to("float64"), *sizes)
    what = f"{name}{'_of_labels' if labels else ''}_{dtype}"
    return address_of(loop, what, *kinds)
