"""The memory of a compiled forward pass, and the pass where only its output is asked for.

Imported only where Numba is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import GRADIENT_FROM_H, Array
from gpu_mlp.backends.blas_threads import blas_threads, one_blas_thread, products_of
from gpu_mlp.backends.compiled.activations import activation_address, gradient_address
from gpu_mlp.backends.compiled.products import gemm_address
from gpu_mlp.backends.compiled.steps import compiled_outputs
from gpu_mlp.backends.threads import edges_of, together
from gpu_mlp.network.parameters import ALIGNMENT, ParameterBuffer, ParameterLayout

__all__ = ["CompiledOutputs", "place_layers"]

# Where threads that compute some rows each, so many at a time, are faster than BLAS's own (measured with two).
BLOCK = 1024
FEWEST_OF_THREADS = 1 << 25  # multiplications


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


@dataclass(frozen=True)
class _Plan:
    """How the output of so many rows is computed: `parts` of them in threads of their own, each `block` at a time."""

    layers: NDArray[np.int64]
    units: int
    block: int
    parts: list[tuple[int, int]]
    products: AbstractContextManager[None]
    compute: Callable[..., None]
    gemm: int


@lru_cache(maxsize=64)
def _plan(
    layout: ParameterLayout, activations: tuple[str, ...], rows: int, dtype: str, threads: int
) -> _Plan:
    weights = [inputs * outputs for inputs, outputs in pairwise(layout.layer_sizes)]
    is_large = threads > 1 and rows >= threads * BLOCK and rows * sum(weights) >= FEWEST_OF_THREADS
    block = BLOCK if is_large else rows
    layers, units = place_layers(layout, activations, block, dtype)
    return _Plan(
        layers=layers,
        units=units,
        block=block,
        parts=edges_of(rows, threads if is_large else 1, 1),
        products=one_blas_thread if is_large else products_of(rows * max(weights), rows * sum(weights)),
        compute=compiled_outputs(dtype),
        gemm=gemm_address(dtype),
    )


class CompiledOutputs:
    """All memory for the output of exactly `rows` rows."""

    def __init__(
        self, parameters: ParameterBuffer, activations: tuple[str, ...], rows: int, dtype: str
    ) -> None:
        self._parameters = parameters.flat
        # How many threads there are is asked only where more than one would be used.
        threads = blas_threads() if rows >= 2 * BLOCK else 1
        self._plan = plan = _plan(parameters.layout, activations, rows, dtype, threads)
        self._output = np.empty((rows, parameters.layout.layer_sizes[-1]), dtype)
        self._units = [np.empty(plan.units, dtype) for _ in plan.parts]

    def __call__(self, x: Array) -> Array:
        """f_K (B, D_{K+1}) of x (B, D_0), in memory that the next call overwrites."""
        plan = self._plan
        if not (x.flags.writeable and x.flags.aligned):
            x = x.copy()
        with plan.products:
            if len(plan.parts) == 1:
                self._compute(x, self._units[0], slice(None))
            else:
                pairs = zip(self._units, plan.parts, strict=True)
                together(self._compute, [(x, units, slice(*edges)) for units, edges in pairs])
        return self._output

    def _compute(self, x: Array, units: Array, rows: slice) -> None:
        plan = self._plan
        plan.compute(plan.layers, self._parameters, x[rows], units, self._output[rows], plan.block, plan.gemm)
