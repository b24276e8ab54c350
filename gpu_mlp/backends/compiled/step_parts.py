"""The parts of a training step, which a team's threads take:

    rows_part        of some rows: gathered, f_k and h_k, L, dL/df_k, and their dL/dOmega_k and dL/dbeta_k
    gradients_part   of some outputs, where there are many parameters for few rows: dL/dOmega_k and dL/dbeta_k instead
    finish_part      of some parameters: the sum over the parts of the rows, the L2 penalty, and the update
    clipped_part     of some parameters, where gradients are clipped: g <- g min(1, largest / |g|), and the update

Each begins when all of the one before are done. Rows are taken so many at a time that what is computed of them stays in
a cache until their gradients are taken.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import carray, types

from gpu_mlp.backends.compiled.job import job_pointer
from gpu_mlp.backends.compiled.machine_code import (
    address_of,
    call,
    like,
    loop_formula,
    matrix_at,
    sum_formula,
    vector_at,
)
from gpu_mlp.backends.compiled.narrow_passes import narrow_backward, narrow_forward, narrow_gradients
from gpu_mlp.backends.compiled.passes import COLUMNS, INPUTS, OUTPUTS, F, backward, forward, gradients_of
from gpu_mlp.backends.compiled.products import blas_at
from gpu_mlp.backends.compiled.rows import gather, gather_by_unit, turn_by_unit
from gpu_mlp.backends.records import Array

__all__ = ["LOSS", "PENALTY", "ROWS_AT_A_TIME", "SQUARES", "edge", "layers_of", "part_addresses"]

# Rows start at multiples of this, and outputs and parameters where there are many: what BLAS takes at a time.
ROWS_AT_A_TIME, OUTPUTS_AT_A_TIME, PARAMETERS_AT_A_TIME = 8, 4, 16
# Rows of `part_sums`.
LOSS, PENALTY, SQUARES = range(3)


@loop_formula
def edge(size: int, parts: int, part: int, multiple: int) -> Any:
    """Where a part of 0..size begins."""
    if part == parts:
        return size
    return min((size * part // parts + multiple // 2) // multiple * multiple, size)


@loop_formula
def part_loss(job: Any, part: int) -> Any:
    """The address of a part's share of L, which begins with 0."""
    address = job.part_sums + 8 * (LOSS * job.parts + part)
    vector_at(address, 1, 0.0)[0] = 0.0
    return address


@loop_formula
def layers_of(job: Any) -> Any:
    """The table of layers."""
    return matrix_at(job.layers, job.layer_count, COLUMNS, 0)


@loop_formula
def gather_part(job: Any, inputs: int, first: int, last: int) -> None:
    """The rows from `first` to `last` of the batch, from the table where there is one."""
    n, size, y = last - first, job.item_size, job.y + first * job.target_bytes
    order = vector_at(job.order + 8 * (job.rows * job.at + first), n, 0)
    if job.order != 0:
        gather(job.table_y, order, job.target_bytes, y)
    if job.inputs == 0:
        if job.order != 0:
            gather(job.table_x, order, inputs * size, job.x + first * inputs * size)
        return
    by_unit = matrix_at(job.inputs, inputs, job.rows, job.one)
    if job.order != 0:
        gather_by_unit(matrix_at(job.table_x, job.table_rows, inputs, job.one), order, first, by_unit)
    else:
        turn_by_unit(matrix_at(job.x, job.rows, inputs, job.one)[first:last], first, by_unit)


@loop_formula
def rows_of_part(job: Any, part: int) -> Any:
    """Where a part of the rows begins and ends; one that has none leaves no gradients of an earlier step."""
    first = edge(job.rows, job.parts, part, ROWS_AT_A_TIME)
    last = edge(job.rows, job.parts, part + 1, ROWS_AT_A_TIME)
    if first == last and job.gradients_part == 0:
        gradients_of_part(job, part)[:] = 0
    return first, last


@loop_formula
def gradients_of_part(job: Any, part: int) -> Any:
    """(P,), where a part of the rows has its own."""
    if part == 0:
        return vector_at(job.gradients, job.size, job.one)
    own = vector_at(job.part_gradients, (job.parts - 1) * job.size, job.one)
    return own[(part - 1) * job.size : part * job.size]


def rows_part(job_at: Any, part: int) -> None:
    """L and every dL/df_k of some rows, and gradients, unless those are taken by outputs."""
    job = carray(job_at, 1)[0]
    (first, last), layers = rows_of_part(job, part), layers_of(job)
    inputs, outputs = layers[0, INPUTS], layers[job.layer_count - 1, OUTPUTS]
    parameters = vector_at(job.parameters, job.size, job.one)
    units = vector_at(job.units, job.unit_count, job.one)
    errors = vector_at(job.errors, job.unit_count, job.one)
    share, x = vector_at(job.share, job.rows, job.one), matrix_at(job.x, job.rows, inputs, job.one)
    loss = part_loss(job, part)
    blas, gradients = blas_at(job.gemm, job.one), gradients_of_part(job, part)
    for start in range(first, last, job.block):
        end = min(start + job.block, last)
        gather_part(job, inputs, start, end)
        forward(blas, layers, parameters, x[start:end], units, start)
        place = layers[job.layer_count - 1, F] + start * outputs
        given = units[place:].ctypes.data, job.y + start * job.target_bytes, share[start:].ctypes.data
        what = (*given, job.loss_parameter, errors[place:].ctypes.data, loss)
        call(job.loss_function, (*what, end - start, outputs))
        backward(blas, layers, parameters, units, errors, start, end - start)
        if job.gradients_part == 0:
            for k in range(job.layer_count):
                width, add = layers[k, OUTPUTS], start > first
                gradients_of(blas, layers, k, x[start:end], units, errors, gradients, start, 0, width, add)


def narrow_rows_part(job_at: Any, part: int) -> None:
    """The same where the batch lies unit by unit."""
    job = carray(job_at, 1)[0]
    (first, last), layers = rows_of_part(job, part), layers_of(job)
    inputs, outputs = layers[0, INPUTS], layers[job.layer_count - 1, OUTPUTS]
    parameters = vector_at(job.parameters, job.size, job.one)
    units = vector_at(job.units, job.unit_count, job.one)
    errors = vector_at(job.errors, job.unit_count, job.one)
    share, x = vector_at(job.share, job.rows, job.one), matrix_at(job.inputs, inputs, job.rows, job.one)
    loss, gradients = part_loss(job, part), gradients_of_part(job, part)
    scratch = np.empty(3 * job.block, units.dtype)
    for start in range(first, last, job.block):
        end = min(start + job.block, last)
        gather_part(job, inputs, start, end)
        narrow_forward(layers, parameters, x, units, start, end, scratch[: end - start])
        place = layers[job.layer_count - 1, F] + start
        given = units[place:].ctypes.data, job.y + start * job.target_bytes, share[start:].ctypes.data
        what = (*given, job.loss_parameter, errors[place:].ctypes.data, loss)
        call(job.loss_function, (*what, end - start, outputs, job.rows, scratch.ctypes.data))
        narrow_backward(layers, parameters, units, errors, start, end, job.rows)
        narrow_gradients(layers, x, units, errors, gradients, start, end, start > first)


def gradients_part(job_at: Any, part: int) -> None:
    """The gradients of some outputs of every layer, over all rows."""
    job = carray(job_at, 1)[0]
    layers = layers_of(job)
    gradients = vector_at(job.gradients, job.size, job.one)
    units = vector_at(job.units, job.unit_count, job.one)
    errors = vector_at(job.errors, job.unit_count, job.one)
    x = matrix_at(job.x, job.rows, layers[0, INPUTS], job.one)
    blas = blas_at(job.gemm, job.one)
    for k in range(job.layer_count - 1, -1, -1):
        first = edge(layers[k, OUTPUTS], job.parts, part, OUTPUTS_AT_A_TIME)
        last = edge(layers[k, OUTPUTS], job.parts, part + 1, OUTPUTS_AT_A_TIME)
        if first < last:
            gradients_of(blas, layers, k, x, units, errors, gradients, 0, first, last, False)


@sum_formula
def sum_of_squares(values: Array) -> Any:
    """In the values' own type."""
    total = like(values[0], 0.0)
    for i in range(values.size):
        total += values[i] * values[i]
    return total


@loop_formula
def add_l2_penalty(alpha: float, parameters: Array, gradients: Array, total: float) -> float:
    """g <- g + alpha / total w; returns alpha / 2 |w|^2 / total."""
    coefficient = like(parameters[0], alpha / total)
    for i in range(parameters.size):
        gradients[i] += coefficient * parameters[i]
    return 0.5 * coefficient * sum_of_squares(parameters)  # type: ignore[no-any-return]


@loop_formula
def update(job: Any, first: int, last: int) -> None:
    """The optimizer's, of the parameters from `first` to `last`."""
    skipped = first * job.item_size
    where = job.parameters + skipped, job.gradients + skipped
    states = job.first_state + skipped, job.second_state + skipped
    rate = vector_at(job.learning_rates, job.steps, 0.0)[job.at]
    call(job.optimizer, (*where, *states, last - first, job.constants, rate, job.step + job.at))


def finish_part(job_at: Any, part: int) -> None:
    """Some of all gradients: their sum over the parts of the rows, the penalty, and their norm or the update."""
    job = carray(job_at, 1)[0]
    first = edge(job.size, job.parts, part, PARAMETERS_AT_A_TIME)
    last = edge(job.size, job.parts, part + 1, PARAMETERS_AT_A_TIME)
    sums, g = vector_at(job.part_sums, 3 * job.parts, 0.0), gradients_of_part(job, 0)[first:last]
    if job.gradients_part == 0:
        for other in range(1, job.parts):
            g_other = gradients_of_part(job, other)[first:last]
            for i in range(g.size):
                g[i] += g_other[i]
    if job.l2_penalty > 0.0:
        weights = max(min(last, job.weight_count) - first, 0)
        p = vector_at(job.parameters, job.size, job.one)[first : first + weights]
        sums[PENALTY * job.parts + part] = add_l2_penalty(job.l2_penalty, p, g[:weights], job.total)
    if job.largest_norm < math.inf:
        sums[SQUARES * job.parts + part] = sum_of_squares(g)
    else:
        update(job, first, last)


def clipped_part(job_at: Any, part: int) -> None:
    """Some of all gradients, clipped, and their update."""
    job = carray(job_at, 1)[0]
    first = edge(job.size, job.parts, part, PARAMETERS_AT_A_TIME)
    last = edge(job.size, job.parts, part + 1, PARAMETERS_AT_A_TIME)
    gradients, factor = vector_at(job.gradients, job.size, job.one), like(job.one, job.clip_factor)
    if factor != 1:
        for i in range(first, last):
            gradients[i] *= factor
    update(job, first, last)


@cache
def part_addresses(dtype: str, *, narrow: bool) -> dict[str, int]:
    """Of the three parts, by the names of the job's fields; compiled or read from the cache now."""
    kinds = job_pointer(dtype), types.int64
    rows = (narrow_rows_part, "narrow_rows_part") if narrow else (rows_part, "rows_part")
    functions = {
        "rows_part": rows,
        "gradients_part": (gradients_part, "gradients_part"),
        "finish_part": (finish_part, "finish_part"),
        "clipped_part": (clipped_part, "clipped_part"),
    }
    return {
        field: address_of(function, f"{name}_{dtype}", *kinds)
        for field, (function, name) in functions.items()
    }
