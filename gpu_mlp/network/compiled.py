"""The memory of a compiled forward pass, and the pass where only its output is asked for.

Imported only where Numba is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import GRADIENT_FROM_H, Array
from gpu_mlp.backends.blas_threads import blas_threads, one_blas_thread, products_of
from gpu_mlp.backends.compiled.activations import activation_address, gradient_address
from gpu_mlp.backends.compiled.job import job_array, job_type
from gpu_mlp.backends.compiled.outputs import compiled_outputs, outputs_address
from gpu_mlp.backends.compiled.products import gemm_address
from gpu_mlp.backends.compiled.team import helped
from gpu_mlp.network.parameters import ALIGNMENT, ParameterBuffer, ParameterLayout

__all__ = [
    "ROWS_AT_ONCE",
    "CompiledOutputs",
    "is_narrow",
    "place_layers",
    "step_parts",
    "takes_gradients_by_outputs",
]

# Weights of a layer, up to which a loop of our own is faster than BLAS.
MOST_OF_NARROW = 256
# Where threads that take some rows each are faster than one, or BLAS's own: rows for each, and multiplications of all
# (measured with two).
FEWEST_ROWS, FEWEST_NARROW_ROWS = 32, 128
FEWEST_OF_PARTS, FEWEST_OF_NARROW_PARTS = 1 << 21, 1 << 17
# Parameters that a second cache holds.
MOST_IN_CACHE = 1 << 18
# Rows at a time, so that what is computed of them stays in a cache; fewer would make the products slow.
ROWS_AT_ONCE = 512
# Parameters, up to which parts of the rows have gradients of their own.
MOST_OF_PART_GRADIENTS = 1 << 22


@lru_cache(maxsize=64)
def place_layers(
    layout: ParameterLayout, activations: tuple[str, ...], rows: int, dtype: str
) -> tuple[NDArray[np.int64], int]:
    """The table of layers of `backends.compiled.passes` for a batch, and how many units it has room for."""
    table, end = [], 0
    for k, ((inputs, outputs), name) in enumerate(
        zip(pairwise(layout.layer_sizes), (*activations, "identity"), strict=True)
    ):
        size = -(-rows * outputs // ALIGNMENT) * ALIGNMENT
        f = h = end
        end += size
        if name not in GRADIENT_FROM_H:
            h, end = end, end + size
        places = layout.weight_offsets[k], layout.bias_offsets[k], f, h
        addresses = activation_address(name, dtype), gradient_address(name, dtype)
        table.append((inputs, outputs, *places, *addresses))
    return np.array(table, np.int64), end


@lru_cache(maxsize=64)
def is_narrow(layout: ParameterLayout) -> bool:
    """Whether BLAS would take longer to prepare the products than to compute them."""
    return all(inputs * outputs <= MOST_OF_NARROW for outputs, inputs in layout.weight_shapes)


def step_parts(layout: ParameterLayout, rows: int) -> int:
    """How many parts a training step is cut into; 1 where two cost more than they bring."""
    work = 3 * rows * layout.size
    return _parts(layout, rows, FEWEST_ROWS, work, _threads_for(layout, work))


def _output_parts(layout: ParameterLayout, rows: int, threads: int) -> int:
    """The same of a prediction, whose large products of few rows BLAS spreads better: it prepares the weights once."""
    fewest = FEWEST_ROWS * (2 if layout.size > MOST_IN_CACHE else 1)
    return _parts(layout, rows, fewest, rows * layout.size, threads)


def _parts(layout: ParameterLayout, rows: int, fewest: int, work: int, threads: int) -> int:
    if is_narrow(layout):
        fewest = FEWEST_NARROW_ROWS
    return max(min(threads, rows // fewest), 1) if _is_enough(layout, work) else 1


def _is_enough(layout: ParameterLayout, work: int) -> bool:
    return work >= (FEWEST_OF_NARROW_PARTS if is_narrow(layout) else FEWEST_OF_PARTS)


def _threads_for(layout: ParameterLayout, work: int) -> int:
    """How many there are for parts; asked only where it matters, since others may have to be waited for."""
    return blas_threads() if _is_enough(layout, work) else 1


def takes_gradients_by_outputs(layout: ParameterLayout, rows: int) -> bool:
    """Whether gradients of each part of the rows would take longer, or much memory, for so many parameters."""
    return layout.size > min(4 * rows * sum(layout.layer_sizes), MOST_OF_PART_GRADIENTS)


@dataclass(frozen=True)
class _Plan:
    """How the output of so many rows is computed."""

    layers: NDArray[np.int64]
    job: NDArray[np.uint8]  # the record of what is told, but for the memory
    units: int
    parts: int
    products: AbstractContextManager[None]
    work: int
    compute: Callable[..., None]
    kind: np.dtype[np.void]


@lru_cache(maxsize=64)
def _plan(
    layout: ParameterLayout, activations: tuple[str, ...], rows: int, dtype: str, threads: int
) -> _Plan:
    narrow, parts = is_narrow(layout), _output_parts(layout, rows, threads)
    block = min(rows, ROWS_AT_ONCE) if narrow or parts > 1 else rows
    layers, units = place_layers(layout, activations, block, dtype)
    weights = [inputs * outputs for outputs, inputs in layout.weight_shapes]
    products = products_of(rows * max(weights), rows * sum(weights))
    if parts > 1:
        products = one_blas_thread
    job = job_array(dtype)
    numbers = {
        "layers": layers.ctypes.data,
        "layer_count": layout.layers,
        "size": layout.size,
        "rows": rows,
        "block": block,
        "unit_count": units,
        "parts": parts,
        "gemm": gemm_address(dtype),
        "rows_part": outputs_address(dtype, narrow=narrow),
    }
    for name, number in numbers.items():
        job[name] = number
    return _Plan(
        layers,
        job.view(np.uint8),
        parts * units,
        parts,
        nullcontext() if narrow else products,
        rows * sum(weights),
        compiled_outputs(dtype),
        job_type(dtype),
    )


class CompiledOutputs:
    """All memory for the output of exactly `rows` rows."""

    def __init__(
        self, parameters: ParameterBuffer, activations: tuple[str, ...], rows: int, dtype: str
    ) -> None:
        layout = parameters.layout
        self._parameters = parameters.flat
        threads = _threads_for(layout, rows * self._parameters.size)
        self._plan = plan = _plan(layout, activations, rows, dtype, threads)
        self._output = np.empty((rows, layout.layer_sizes[-1]), dtype)
        self._units = np.empty(plan.units, dtype)
        self._job = plan.job.copy().view(plan.kind)

    def __call__(self, x: Array) -> Array:
        """f_K (B, D_{K+1}) of x (B, D_0), in memory that the next call overwrites."""
        x = x if x.flags.carray else x.copy()
        plan = self._plan
        with plan.products, helped(plan.parts, plan.work) as team:
            plan.compute(self._job, team, self._parameters, self._units, x, self._output)
        return self._output
