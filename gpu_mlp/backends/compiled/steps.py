"""Whole steps, one after the other, in one call: rows, forward, loss, backward, what finishes the gradients, update."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from gpu_mlp.backends.compiled.machine_code import (
    array_type,
    call,
    entry_point,
    like,
    loop_formula,
    sum_formula,
)
from gpu_mlp.backends.compiled.passes import OUTPUTS, F, backward, forward, matrix
from gpu_mlp.backends.compiled.products import blas_at
from gpu_mlp.backends.compiled.rows import gather, share_rows
from gpu_mlp.backends.records import Array
from gpu_mlp.backends.reference.optimizers import CLIP_EPSILON

__all__ = ["compiled_outputs", "compiled_steps"]


@sum_formula
def sum_of_squares(values: Array) -> Any:
    """In the values' own type."""
    total = like(values[0], 0.0)
    for i in range(values.size):
        total += values[i] * values[i]
    return total


@loop_formula
def add_l2_penalty(alpha: float, parameters: Array, gradients: Array, weights: int, total: float) -> float:
    """g <- g + alpha / total w for the first `weights` parameters; returns alpha / 2 |w|^2 / total."""
    coefficient = like(parameters[0], alpha / total)
    for i in range(weights):
        gradients[i] += coefficient * parameters[i]
    return 0.5 * coefficient * sum_of_squares(parameters[:weights])  # type: ignore[no-any-return]


@loop_formula
def clip_norm(largest: float, gradients: Array) -> float:
    """g <- g min(1, largest / (|g| + 1e-6)), unless |g| is NaN; returns |g|."""
    norm = math.sqrt(sum_of_squares(gradients))
    if largest < norm + CLIP_EPSILON:
        coefficient = like(gradients[0], largest / (norm + CLIP_EPSILON))
        for i in range(gradients.size):
            gradients[i] *= coefficient
    return norm


@loop_formula
def step_on_batch(
    blas: Any,
    layers: Array,
    memory: Any,
    x: Array,
    y: int,
    share: Array,
    addresses: Any,
    numbers: Any,
    total: float,
    constants: Array,
    learning_rate: float,
    step: int,
) -> float:
    """One step on a batch x (B, D_0); returns its loss."""
    parameters, gradients, first, second, units, errors, norm = memory
    loss_function, optimizer, weights, _ = addresses
    parameter, _, reported, l2_penalty, largest_norm = numbers
    rows, outputs = x.shape[0], layers[len(layers) - 1, OUTPUTS]
    last = layers[len(layers) - 1, F]
    forward(blas, layers, parameters, x, units)
    f, dl_df, loss = units[last:], errors[last:], np.zeros(1)
    given = f.ctypes.data, y, share.ctypes.data, parameter
    call(loss_function, (*given, dl_df.ctypes.data, loss.ctypes.data, rows, outputs))
    backward(blas, layers, parameters, x, units, errors, gradients)
    if optimizer == 0:
        return loss[0]  # type: ignore[no-any-return]
    loss[0] *= reported
    if l2_penalty > 0.0:
        loss[0] += add_l2_penalty(l2_penalty, parameters, gradients, weights, total)
    if largest_norm < math.inf:
        norm[0] = clip_norm(largest_norm, gradients)
    state = parameters.ctypes.data, gradients.ctypes.data, first.ctypes.data, second.ctypes.data
    call(optimizer, (*state, parameters.size, constants.ctypes.data, learning_rate, step))
    return loss[0]  # type: ignore[no-any-return]


def _argument_types(dtype: str) -> tuple[Any, ...]:
    flat, whole, numbers = (array_type(each, 1) for each in (dtype, "int64", "float64"))
    return (
        array_type("int64", 2),
        types.UniTuple(flat, 7),
        types.UniTuple(types.int64, 4),
        whole,
        flat,
        array_type(dtype, 2),
        types.int64,
        flat,
        types.UniTuple(types.int64, 4),
        types.UniTuple(types.float64, 5),
        types.float64,
        numbers,
        numbers,
        types.int64,
        flat,
    )


@cache
def compiled_steps(dtype: str) -> Callable[..., None]:
    """Steps on rows of a table, or one on a batch, for networks of this type; compiled or read from the cache now."""
    return entry_point(steps, f"steps_{dtype}", *_argument_types(dtype))


def steps(
    layers: Array,
    memory: Any,
    table: Any,
    order: Array,
    weights: Array,
    x: Array,
    y: int,
    share: Array,
    addresses: Any,
    numbers: Any,
    total: float,
    constants: Array,
    learning_rates: Array,
    step: int,
    losses: Array,
) -> None:
    """A step for each learning rate; the first is the optimizer's number `step`.

    layers as in `passes`. memory: parameters, gradients, two states (P,) or (0,), units and errors, and the norm
    (1,). table: the addresses of x (N, D_0) and the targets, how many bytes a row of those has, and the address of
    the weights (N,); order (S B,) of its rows. weights, x, y and share: where the rows of a batch come to lie, y by
    its address, and their shares of the mean. Without an order (0,) they are there; without weights (0,) the shares
    are, of the given total weight. addresses: of the loss and the optimizer, how many parameters are weights, and the
    address of BLAS's gemm; without an optimizer (0) it is left at the gradients. numbers: the loss's parameter, factor
    and `reported`, the L2 penalty, the largest norm. Writes every step's loss into losses (S,).
    """
    rows, blas = x.shape[0], blas_at(addresses[3], x)
    for i in range(learning_rates.size):
        if order.size > 0:
            here = order[i * rows : (i + 1) * rows]
            gather(table[0], here, x.shape[1] * x.itemsize, x.ctypes.data)
            gather(table[1], here, table[2], y)
            if weights.size > 0:
                gather(table[3], here, weights.itemsize, weights.ctypes.data)
                total = share_rows(weights, share)
                for b in range(rows):
                    share[b] *= like(share[b], numbers[1])
        losses[i] = step_on_batch(
            blas,
            layers,
            memory,
            x,
            y,
            share,
            addresses,
            numbers,
            total,
            constants,
            learning_rates[i],
            step + i,
        )


@cache
def compiled_outputs(dtype: str) -> Callable[..., None]:
    """`outputs` for networks of this type; compiled or read from the cache now."""
    flat, rows = array_type(dtype, 1), array_type(dtype, 2)
    kinds = array_type("int64", 2), flat, rows, flat, rows, types.int64, types.int64
    return entry_point(outputs, f"outputs_{dtype}", *kinds)


def outputs(
    layers: Array, parameters: Array, x: Array, units: Array, output: Array, block: int, gemm: int
) -> None:
    """The output f_K (B, D_{K+1}) of x (B, D_0), `block` rows at a time, for which units has room."""
    blas, last = blas_at(gemm, x), layers[len(layers) - 1, F]
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        forward(blas, layers, parameters, rows, units)
        output[start : start + len(rows)] = matrix(units, last, len(rows), output.shape[1])
