"""The memory of a compiled forward pass, and the pass where only its output is asked for.

Imported only where Numba is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import GRADIENT_FROM_H, Array
from gpu_mlp.backends.blas_threads import products_of
from gpu_mlp.backends.compiled.activations import activation_address, gradient_address
from gpu_mlp.backends.compiled.passes import F
from gpu_mlp.backends.compiled.products import gemm_address
from gpu_mlp.backends.compiled.steps import compiled_forward
from gpu_mlp.network.parameters import ALIGNMENT, ParameterBuffer, ParameterLayout

__all__ = ["CompiledOutputs", "place_layers"]


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
    """What the output of so many rows of such a network needs beside memory."""

    layers: NDArray[np.int64]
    units: int
    output: slice
    shape: tuple[int, int]
    products: AbstractContextManager[None]
    forward: Callable[..., None]
    gemm: int


@lru_cache(maxsize=64)
def _plan(layout: ParameterLayout, activations: tuple[str, ...], rows: int, dtype: str) -> _Plan:
    layers, units = place_layers(layout, activations, rows, dtype)
    start, shape = int(layers[-1, F]), (rows, layout.layer_sizes[-1])
    weights = [inputs * outputs for inputs, outputs in pairwise(layout.layer_sizes)]
    return _Plan(
        layers=layers,
        units=units,
        output=slice(start, start + math.prod(shape)),
        shape=shape,
        products=products_of(rows * max(weights), rows * sum(weights)),
        forward=compiled_forward(dtype),
        gemm=gemm_address(dtype),
    )


class CompiledOutputs:
    """All memory for the output of exactly `rows` rows."""

    def __init__(
        self, parameters: ParameterBuffer, activations: tuple[str, ...], rows: int, dtype: str
    ) -> None:
        self._parameters = parameters.flat
        self._plan = plan = _plan(parameters.layout, activations, rows, dtype)
        self._units = np.empty(plan.units, dtype)
        self._output = self._units[plan.output].reshape(plan.shape)

    def __call__(self, x: Array) -> Array:
        """f_K (B, D_{K+1}) of x (B, D_0), in memory that the next call overwrites."""
        plan = self._plan
        if not (x.flags.writeable and x.flags.aligned):
            x = x.copy()
        with plan.products:
            plan.forward(plan.layers, self._parameters, x, self._units, plan.gemm)
        return self._output
