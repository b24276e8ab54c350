"""One training step on the CPU with its rows spread over threads, each with one BLAS thread to itself.

A BLAS spreads each product over its threads but leaves all that stands between two products to one of them. Here every
thread takes some rows of the batch through the whole forward and backward pass,

    L = sum over the parts of their L,    dL/dOmega_k = sum over the parts of (dL/df_k)^T h_k    (likewise dL/dbeta_k),

and then some of the parameters through that sum and the update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.blas_threads import blas_threads, one_blas_thread
from gpu_mlp.backends.threads import edges_of, together
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.steps.finish import Finish
from gpu_mlp.learning.steps.layerwise import UFUNC_BUFFER_ELEMENTS
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ALIGNMENT, ParameterBuffer

__all__ = ["ThreadedStep", "threads_for"]

# Below these a step gains nothing from threads of its own (measured with 2): rows for each thread, and
# multiplications of a step, or units of a batch, whose activations BLAS's threads do not share.
FEWEST_ROWS = 256
FEWEST_PRODUCTS = 1 << 26
FEWEST_UNITS = 1 << 18
# Philox draws four numbers at a time, so the dropout masks of a part start at a multiple of 4 rows.
ROWS_MULTIPLE = 4


def threads_for(network: Network, rows: int) -> int:
    """How many threads should share a step of `rows` rows; 1 where BLAS spreads it better, and on a GPU."""
    products = 3 * rows * network.parameter_count
    is_large = products >= FEWEST_PRODUCTS or rows * sum(network.layer_sizes[1:]) >= FEWEST_UNITS
    if network.device != "cpu" or rows < 2 * FEWEST_ROWS or not is_large:
        return 1
    threads = blas_threads()
    return threads if rows >= threads * FEWEST_ROWS else 1


class Part(Protocol):
    """A step of some rows of a batch, without its update."""

    loss: Array
    gradients: Any

    def compute_gradients(self, x: Array, y: Array, share: Array, step: int) -> None:
        """Forward, loss and backward: fills `loss` and `gradients.flat`."""

    def finite_layers(self) -> list[bool]:
        """For every layer, whether all of the last step were finite."""


MakePart: TypeAlias = Callable[[ParameterBuffer, int, int], Part]


class ThreadedStep:
    """All memory for steps of exactly `rows` rows on `threads` threads, and the step.

    make_part makes the step of the rows from start to stop of the batch, whose gradients go into the buffer that it is
    given. Who computes what is fixed by `rows` and `threads`, and the parts' gradients are added in one order: the same
    seed gives the same bits as long as the number of threads is the same.
    """

    def __init__(
        self,
        network: Network,
        gradients: ParameterBuffer,
        rows: int,
        make_part: MakePart,
        *,
        threads: int,
    ) -> None:
        self.network = network
        self.products = one_blas_thread
        self.loss: Array = network.ops.xp.zeros((), network.dtype)
        self._gradients = gradients
        edges = edges_of(rows, threads, ROWS_MULTIPLE)
        others = [ParameterBuffer(network.ops, gradients.layout, network.dtype) for _ in edges[1:]]
        self.parts = [
            make_part(buffer, start, stop)
            for buffer, (start, stop) in zip([gradients, *others], edges, strict=True)
        ]
        self._rows = [slice(start, stop) for start, stop in edges]
        self._elements = edges_of(gradients.flat.size, threads, ALIGNMENT)
        # All threads' conversion buffers together are as large as those of a step on one.
        self._buffer_elements = max(UFUNC_BUFFER_ELEMENTS // threads // 16 * 16, 256)

    def run(
        self,
        x: Array,
        y: Array,
        share: Array,
        optimizer: OptimizerState,
        learning_rate: float,
        finish: Finish | None,
    ) -> None:
        """The whole step: gradients, what finishes them, update."""

        def compute(part: Part, rows: slice) -> None:
            np.setbufsize(self._buffer_elements)  # in the context of this call alone
            part.compute_gradients(x[rows], y[rows], share[rows], optimizer.step)

        def update(start: int, stop: int) -> None:
            optimizer.update_range(self._gradients.flat, learning_rate, start, stop)

        def add_and_update(start: int, stop: int) -> None:
            self._add_parts(start, stop)
            update(start, stop)

        with self.products:
            together(compute, list(zip(self.parts, self._rows, strict=True)))
            self.loss[...] = sum(part.loss for part in self.parts)
            if finish is not None:
                together(self._add_parts, self._elements)
                finish(self._gradients.flat, self.loss)
            optimizer.begin_step()
            together(add_and_update if finish is None else update, self._elements)

    def _add_parts(self, start: int, stop: int) -> None:
        """The gradients of all parts into those of the first, for some of the parameters."""
        total = self._gradients.flat[start:stop]
        for part in self.parts[1:]:
            self.network.ops.xp.add(total, part.gradients.flat[start:stop], out=total)

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether all of the last step were finite; see `LayerwiseStep.finite_layers`."""
        return [all(layer) for layer in zip(*(part.finite_layers() for part in self.parts), strict=True)]
