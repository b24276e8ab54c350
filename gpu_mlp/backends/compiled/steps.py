"""Whole steps, one after the other, in one call, by the parts of `step_parts`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from numba import carray, types

from gpu_mlp.backends.compiled.job import job_pointer, job_type
from gpu_mlp.backends.compiled.machine_code import (
    address_of,
    array_type,
    call,
    entry_point,
    like,
    loop_formula,
    matrix_at,
    vector_at,
)
from gpu_mlp.backends.compiled.rows import gather, share_rows
from gpu_mlp.backends.compiled.step_parts import LOSS, PENALTY, SQUARES
from gpu_mlp.backends.compiled.team import share_out
from gpu_mlp.backends.records import Array
from gpu_mlp.backends.reference.optimizers import CLIP_EPSILON

__all__ = ["steps_address", "steps_on_batch", "steps_on_table"]


@loop_formula
def share_weights(job: Any) -> None:
    """The shares of the batch's rows by their weights in the table."""
    weights, share = vector_at(job.weights, job.rows, job.one), vector_at(job.share, job.rows, job.one)
    order = vector_at(job.order + 8 * job.rows * job.at, job.rows, 0)
    gather(job.table_weights, order, weights.itemsize, job.weights)
    job.total = share_rows(weights, share)
    for b in range(job.rows):
        share[b] *= like(share[b], job.loss_factor)


@loop_formula
def clip(job: Any, squares: Array) -> None:
    """min(1, largest / (|g| + 1e-6)), unless |g| is NaN."""
    norm = math.sqrt(squares.sum())
    vector_at(job.norm, 1, job.one)[0] = norm
    job.clip_factor = 1.0
    if job.largest_norm < norm + CLIP_EPSILON:
        job.clip_factor = job.largest_norm / (norm + CLIP_EPSILON)


def steps(job_at: Any, team: int) -> None:
    """All steps of a job; writes every step's loss."""
    job = carray(job_at, 1)[0]
    losses = vector_at(job.losses, job.steps, job.one)
    sums = matrix_at(job.part_sums, 3, job.parts, 0.0)
    for i in range(job.steps):
        job.at = i
        if job.weights != 0:
            share_weights(job)
        share_out(team, job.rows_part, job.itself, job.parts)
        if job.gradients_part != 0:
            share_out(team, job.gradients_part, job.itself, job.parts)
        share_out(team, job.finish_part, job.itself, job.parts)
        losses[i] = sums[LOSS].sum() * job.reported
        if job.l2_penalty > 0.0:
            losses[i] += sums[PENALTY].sum()
        if job.largest_norm < math.inf:
            clip(job, sums[SQUARES])
            share_out(team, job.clipped_part, job.itself, job.parts)


def on_table(jobs: Array, team: int, order: Array, learning_rates: Array, step: int, losses: Array) -> None:
    """A step on the rows of the table in that order (S B,) for each learning rate; the first is number `step`."""
    job = jobs[0]
    job.order = order.ctypes.data
    job.learning_rates, job.steps, job.step = learning_rates.ctypes.data, learning_rates.size, step
    job.losses = losses.ctypes.data
    call(job.steps_loop, (job.itself, team))


def on_batch(
    jobs: Array,
    team: int,
    x: Array,
    y: Array,
    share: Array,
    learning_rates: Array,
    step: int,
    losses: Array,
) -> None:
    """One step on a batch."""
    job = jobs[0]
    job.order = job.weights = 0
    job.x, job.y, job.share = x.ctypes.data, y.ctypes.data, share.ctypes.data
    job.learning_rates, job.steps, job.step = learning_rates.ctypes.data, 1, step
    job.losses = losses.ctypes.data
    call(job.steps_loop, (job.itself, team))


@cache
def steps_address(dtype: str) -> int:
    """Of `steps`, for the job; compiled or read from the cache now."""
    return address_of(steps, f"steps_{dtype}", job_pointer(dtype), types.int64)


def _entry(function: Callable[..., None], name: str, dtype: str, *kinds: Any) -> Callable[..., None]:
    jobs = types.Array(numba.from_dtype(job_type(dtype)), 1, "C")
    return entry_point(function, name, jobs, types.int64, *kinds)


@cache
def steps_on_table(dtype: str) -> Callable[..., None]:
    """Of (job, team, order, learning rates, step, losses); compiled or read from the cache now."""
    order, rates, losses = array_type("int64", 1), array_type("float64", 1), array_type(dtype, 1)
    return _entry(on_table, f"steps_on_table_{dtype}", dtype, order, rates, types.int64, losses)


@cache
def steps_on_batch(dtype: str, *, labels: bool) -> Callable[..., None]:
    """Of (job, team, x, y, share, learning rate, step, loss); compiled or read from the cache now."""
    flat, rows = array_type(dtype, 1), array_type(dtype, 2)
    y = array_type("int64", 1) if labels else rows
    kinds = rows, y, flat, array_type("float64", 1), types.int64, flat
    return _entry(on_batch, f"step_on_{'labels' if labels else 'values'}_{dtype}", dtype, *kinds)
