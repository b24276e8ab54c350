"""The output of a forward pass alone, in parts of some rows each, which a team's threads take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import carray, types

from gpu_mlp.backends.compiled.job import job_pointer, job_type
from gpu_mlp.backends.compiled.machine_code import (
    address_of,
    array_type,
    entry_point,
    loop_formula,
    matrix_at,
    vector_at,
)
from gpu_mlp.backends.compiled.narrow_passes import narrow_forward
from gpu_mlp.backends.compiled.passes import INPUTS, OUTPUTS, F, forward, matrix
from gpu_mlp.backends.compiled.products import blas_at
from gpu_mlp.backends.compiled.rows import turn_by_unit
from gpu_mlp.backends.compiled.step_parts import ROWS_AT_A_TIME, edge, layers_of
from gpu_mlp.backends.compiled.team import share_out
from gpu_mlp.backends.records import Array

__all__ = ["compiled_outputs", "outputs_address"]


@loop_formula
def units_of_part(job: Any, part: int) -> Any:
    """Room for f_k and h_k of `block` rows."""
    units = vector_at(job.units, job.unit_count * job.parts, job.one)
    return units[part * job.unit_count : (part + 1) * job.unit_count]


def outputs_part(job_at: Any, part: int) -> None:
    """f_K of some rows, `block` of them at a time."""
    job = carray(job_at, 1)[0]
    layers, units = layers_of(job), units_of_part(job, part)
    x = matrix_at(job.x, job.rows, layers[0, INPUTS], job.one)
    output = matrix_at(job.output, job.rows, layers[job.layer_count - 1, OUTPUTS], job.one)
    parameters, place = vector_at(job.parameters, job.size, job.one), layers[job.layer_count - 1, F]
    blas = blas_at(job.gemm, job.one)
    first = edge(job.rows, job.parts, part, ROWS_AT_A_TIME)
    last = edge(job.rows, job.parts, part + 1, ROWS_AT_A_TIME)
    for start in range(first, last, job.block):
        rows = x[start : min(start + job.block, last)]
        forward(blas, layers, parameters, rows, units, 0)
        output[start : start + len(rows)] = matrix(units, place, len(rows), output.shape[1])


def narrow_outputs_part(job_at: Any, part: int) -> None:
    """The same where the rows are turned to lie unit by unit."""
    job = carray(job_at, 1)[0]
    layers, units = layers_of(job), units_of_part(job, part)
    x = matrix_at(job.x, job.rows, layers[0, INPUTS], job.one)
    output = matrix_at(job.output, job.rows, layers[job.layer_count - 1, OUTPUTS], job.one)
    parameters, place = vector_at(job.parameters, job.size, job.one), layers[job.layer_count - 1, F]
    by_unit, scratch = np.empty((x.shape[1], job.block), units.dtype), np.empty(job.block, units.dtype)
    f = matrix(units, place, output.shape[1], job.block)
    first = edge(job.rows, job.parts, part, ROWS_AT_A_TIME)
    last = edge(job.rows, job.parts, part + 1, ROWS_AT_A_TIME)
    for start in range(first, last, job.block):
        rows = x[start : min(start + job.block, last)]
        turn_by_unit(rows, 0, by_unit)
        narrow_forward(layers, parameters, by_unit, units, 0, len(rows), scratch[: len(rows)])
        for b in range(len(rows)):
            for o in range(output.shape[1]):
                output[start + b, o] = f[o, b]


def outputs(jobs: Array, team: int, parameters: Array, units: Array, x: Array, output: Array) -> None:
    """The output f_K (B, D_{K+1}) of x (B, D_0)."""
    job = jobs[0]
    job.parameters, job.units = parameters.ctypes.data, units.ctypes.data
    job.x, job.output = x.ctypes.data, output.ctypes.data
    share_out(team, job.rows_part, jobs.ctypes.data, job.parts)


@cache
def outputs_address(dtype: str, *, narrow: bool) -> int:
    """Of the part; compiled or read from the cache now."""
    function, name = (narrow_outputs_part, "narrow_outputs") if narrow else (outputs_part, "outputs")
    return address_of(function, f"{name}_part_{dtype}", job_pointer(dtype), types.int64)


@cache
def compiled_outputs(dtype: str) -> Callable[..., None]:
    """Of (job, team, parameters, units, x, output); compiled or read from the cache now."""
    jobs = types.Array(numba.from_dtype(job_type(dtype)), 1, "C")
    flat, rows = array_type(dtype, 1), array_type(dtype, 2)
    return entry_point(outputs, f"outputs_{dtype}", jobs, types.int64, flat, flat, rows, rows)
