"""Every loss of a batch that lies unit by unit; as in `losses`, of which these are the formulas.

f and dl_df (O, B), some columns of them at a time; targets are (B, O), row by row as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import carray, types

from gpu_mlp.backends.compiled.exponential import exp
from gpu_mlp.backends.compiled.losses import EACH_OUTPUT
from gpu_mlp.backends.compiled.machine_code import address_of, like, loop_formula, pointer_to
from gpu_mlp.backends.records import Array

__all__ = ["narrow_loss_address"]

Loop = Callable[..., None]


@loop_formula
def weighted_sum(values: Array, share: Array) -> float:
    """In float64, as in `losses`."""
    total = 0.0
    for b in range(values.size):
        total += values[b] * share[b]
    return total


def _each_output(formula: Callable[..., Any]) -> Loop:
    """The loss of a formula that takes every output by itself."""

    def loop(
        f: Any,
        y: Any,
        share: Any,
        parameter: Any,
        dl_df: Any,
        loss: Any,
        rows: int,
        outputs: int,
        stride: int,
        scratch: Any,
    ) -> None:
        f_ob, d_ob = carray(f, (outputs, stride)), carray(dl_df, (outputs, stride))
        y_bo, s_b, row_b = carray(y, (rows, outputs)), carray(share, rows), carray(scratch, (3, rows))[0]
        row_b[:] = 0
        for o in range(outputs):
            f_b, d_b = f_ob[o], d_ob[o]
            for b in range(rows):
                value, slope = formula(f_b[b], y_bo[b, o], like(f_b[b], parameter))
                row_b[b] += value
                d_b[b] = slope * s_b[b]
        loss[0] += weighted_sum(row_b, s_b)

    return loop


@loop_formula
def exponentials(f_ob: Array, p_ob: Array, largest_b: Array, log_b: Array) -> None:
    """p <- softmax(f) over the outputs; max f, and log sum exp z, z = f - max f"""
    rows = largest_b.size
    largest_b[:] = f_ob[0, :rows]
    for o in range(1, len(f_ob)):
        f_b = f_ob[o]
        for b in range(rows):
            largest_b[b] = max(largest_b[b], f_b[b])
    log_b[:] = 0
    for o in range(len(f_ob)):
        f_b, p_b = f_ob[o], p_ob[o]
        for b in range(rows):
            value = exp(f_b[b] - largest_b[b])
            p_b[b] = value
            log_b[b] += value
    for o in range(len(f_ob)):
        p_b = p_ob[o]
        for b in range(rows):
            p_b[b] /= log_b[b]
    for b in range(rows):
        log_b[b] = like(log_b[b], math.log(log_b[b]))


def softmax_of_labels(
    f: Any,
    y: Any,
    share: Any,
    smoothing: Any,
    dl_df: Any,
    loss: Any,
    rows: int,
    outputs: int,
    stride: int,
    scratch: Any,
) -> None:
    """-sum_o t_o log p_o and p - t, t one-hot, smoothed to (1 - s) t + s / O"""
    f_ob, d_ob, s_b = carray(f, (outputs, stride)), carray(dl_df, (outputs, stride)), carray(share, rows)
    room = carray(scratch, (3, rows))
    row_b, largest_b, log_b = room[0], room[1], room[2]
    kept, spread = like(row_b[0], 1.0 - smoothing), like(row_b[0], smoothing / outputs)
    exponentials(f_ob, d_ob, largest_b, log_b)
    for b in range(rows):
        label, row_b[b] = y[b], 0
        if 0 <= label < outputs:  # as in a one-hot row, which is 0 for any other number
            row_b[b] = kept * (log_b[b] - (f_ob[label, b] - largest_b[b]))
            d_ob[label, b] -= kept
    for o in range(outputs):
        f_b, d_b = f_ob[o], d_ob[o]
        if smoothing > 0:
            for b in range(rows):
                row_b[b] += spread * (log_b[b] - (f_b[b] - largest_b[b]))
        for b in range(rows):
            d_b[b] = (d_b[b] - spread) * s_b[b]
    loss[0] += weighted_sum(row_b, s_b)


def softmax_of_probabilities(
    f: Any,
    y: Any,
    share: Any,
    smoothing: Any,
    dl_df: Any,
    loss: Any,
    rows: int,
    outputs: int,
    stride: int,
    scratch: Any,
) -> None:
    """The same with targets t of their own"""
    f_ob, d_ob, s_b = carray(f, (outputs, stride)), carray(dl_df, (outputs, stride)), carray(share, rows)
    y_bo, room = carray(y, (rows, outputs)), carray(scratch, (3, rows))
    row_b, largest_b, log_b = room[0], room[1], room[2]
    kept, spread = like(row_b[0], 1.0 - smoothing), like(row_b[0], smoothing / outputs)
    exponentials(f_ob, d_ob, largest_b, log_b)
    row_b[:] = 0
    for o in range(outputs):
        f_b, d_b = f_ob[o], d_ob[o]
        for b in range(rows):
            target = kept * y_bo[b, o] + spread
            row_b[b] += target * (log_b[b] - (f_b[b] - largest_b[b]))
            d_b[b] = (d_b[b] - target) * s_b[b]
    loss[0] += weighted_sum(row_b, s_b)


@cache
def narrow_loss_address(name: str, dtype: str, *, labels: bool) -> int:
    """Of (f, y, share, parameter, dl_df, loss, B, O, stride, scratch), as `losses.loss_address`.

    B of the columns; stride is what separates two units, and scratch has room for (3, B).
    """
    if labels:
        loop: Loop = softmax_of_labels
    elif name == "softmax_cross_entropy":
        loop = softmax_of_probabilities
    else:
        loop = _each_output(EACH_OUTPUT[name])
    number = pointer_to(dtype)
    y = pointer_to("int64") if labels else number
    sizes = (types.int64, types.int64, types.int64)
    kinds = (number, y, number, types.float64, number, pointer_to("float64"), *sizes, number)
    what = f"narrow_{name}{'_of_labels' if labels else ''}_{dtype}"
    return address_of(loop, what, *kinds)
