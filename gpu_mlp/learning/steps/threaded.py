"""One training step on the CPU spread over threads, each with one BLAS thread to itself.

A BLAS spreads each product over its threads but leaves all that stands between two products to one of them. Here a
step has two phases, and the threads meet only between them:

1. every thread takes some rows of the batch through forward pass and loss and back to every dL/df_k;
2. every thread computes some rows of every dL/dOmega_k = (dL/df_k)^T h_k over the whole batch, and updates these
   parameters while their gradients are in its cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.randomness import allocate_dropouts, rows_of_dropout
from gpu_mlp.learning.steps.layerwise import UFUNC_BUFFER_ELEMENTS
from gpu_mlp.network.backward import (
    Gradients,
    allocate_gradients,
    allocate_hidden_gradients,
    backward_hidden,
)
from gpu_mlp.network.forward import Trace, allocate_scratch, allocate_trace, forward
from gpu_mlp.network.losses import allocate_loss_scratch
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["ThreadedStep", "blas_threads", "threads_for"]

# Below these a step gains nothing from threads of its own (measured with 2): rows for each thread, and
# multiplications of a step.
FEWEST_ROWS = 64
FEWEST_PRODUCTS = 1 << 26
# Philox draws four numbers at a time, so the dropout masks of a part start at a multiple of 4 rows.
ROWS_MULTIPLE = 4


@cache
def _blas() -> Any:
    """The loaded BLAS libraries, whose threads can be counted and set."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def blas_threads() -> int:
    """How many threads NumPy's products use; 1 where that cannot be told."""
    return max((info["num_threads"] for info in _blas().info()), default=1)


def threads_for(network: Network, rows: int) -> int:
    """How many threads should share a step of `rows` rows; 1 where BLAS spreads it better, and on a GPU."""
    products = 3 * rows * network.parameter_count
    if network.device != "cpu" or rows < 2 * FEWEST_ROWS or products < FEWEST_PRODUCTS:
        return 1
    threads = blas_threads()
    return threads if rows >= threads * FEWEST_ROWS else 1


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="gpu_mlp")


# A forked process has the pool but not its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


@dataclass(frozen=True)
class _WeightRows:
    """Rows `units` of Omega_k, which lie at start..stop of the flat buffer."""

    k: int
    units: slice
    start: int
    stop: int


class ThreadedStep:
    """All memory for steps of exactly `rows` rows on `threads` threads, and the step.

    Who computes what is fixed by `rows` and `threads`: the same seed gives the same bits as long as the number of
    threads is the same.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        gradients: ParameterBuffer,
        rows: int,
        *,
        threads: int,
        dropout: float,
        seed: int,
    ) -> None:
        ops, sizes, dtype = network.ops, network.layer_sizes, network.dtype
        self.network = network
        self.loss: Array = ops.xp.zeros((), dtype)
        self._whole = allocate_trace(
            ops,
            sizes,
            rows,
            dtype,
            dropouts=allocate_dropouts(ops, sizes, rows, dtype, rate=dropout, seed=seed),
        )
        self._gradients = allocate_gradients(ops, gradients, rows, dtype, traced=False)
        self._parts = [
            _Part(self._whole, self._gradients, network, loss, slice(start, stop), threads)
            for start, stop in _edges(rows, threads, ROWS_MULTIPLE)
        ]
        self._weight_rows = [_weight_rows(gradients, thread, threads) for thread in range(threads)]

    def run(
        self,
        x: Array,
        y: Array,
        share: Array,
        optimizer: OptimizerState,
        learning_rate: float,
        clip: Callable[[Array], None] | None,
    ) -> None:
        """The whole step: gradients, clipping, update."""
        flat, first_bias = self._gradients.flat, self._gradients.buffer.layout.bias_offsets[0]
        self._whole.h[0] = x

        def hidden(part: _Part) -> None:
            part.compute(x, y, share, optimizer.step)

        def differentiate(rows: list[_WeightRows]) -> None:
            for own in rows:
                self._differentiate(own)

        def update(rows: list[_WeightRows]) -> None:
            for own in rows:
                optimizer.update_range(flat, learning_rate, own.start, own.stop)

        def differentiate_and_update(rows: list[_WeightRows]) -> None:
            for own in rows:
                self._differentiate(own)
                optimizer.update_range(flat, learning_rate, own.start, own.stop)

        with _blas().limit(limits=1):
            _together(hidden, self._parts)
            self.loss[...] = sum(part.loss for part in self._parts)
            if clip is not None:
                _together(differentiate, self._weight_rows)
                clip(flat)
            optimizer.begin_step()
            _together(differentiate_and_update if clip is None else update, self._weight_rows)
            optimizer.update_range(flat, learning_rate, first_bias, flat.size)

    def _differentiate(self, own: _WeightRows) -> None:
        """Some rows of dL/dOmega_k and dL/dbeta_k, over the whole batch."""
        gradients, whole, k = self._gradients, self._whole, own.k
        self.network.ops.parameter_gradients(
            gradients.dl_df[k][:, own.units],
            whole.layer_input(k),
            whole.scratch[k].ones,
            gradients.weights[k][own.units],
            gradients.biases[k][own.units],
        )

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether the last step's pre-activations f_k were all finite."""
        return [bool(self.network.ops.xp.isfinite(f).all()) for f in self._whole.f]


class _Part:
    """Some rows of the batch: their views of the whole trace and its dL/df_k, and scratch memory of their own."""

    def __init__(
        self, whole: Trace, gradients: Gradients, network: Network, loss: Loss, rows: slice, threads: int
    ) -> None:
        ops, sizes, dtype = network.ops, network.layer_sizes, network.dtype
        count = rows.stop - rows.start
        self.network = network
        self.rows = rows
        self.loss: Array = ops.xp.zeros((), dtype)
        self._trace = Trace(
            f=[f[rows] for f in whole.f],
            h=[h[rows] for h in whole.h],
            scratch=allocate_scratch(ops, sizes[1:], count, dtype),
            dropouts=[None if each is None else rows_of_dropout(ops, each, rows) for each in whole.dropouts],
        )
        self._gradients = Gradients(
            buffer=gradients.buffer,
            dl_df=[dl_df[rows] for dl_df in gradients.dl_df],
            dl_dh=allocate_hidden_gradients(ops, sizes[1:-1], count, dtype),
            traced=False,
        )
        self._loss_primitive: Callable[..., None] = getattr(ops, loss.name)
        self._loss_parameters = loss.parameters
        self._loss_scratch = allocate_loss_scratch(ops, count, sizes[-1], dtype)
        # All threads' conversion buffers together are as large as those of a step on one.
        self._buffer_elements = max(UFUNC_BUFFER_ELEMENTS // threads // 16 * 16, 256)

    def compute(self, x: Array, y: Array, share: Array, step: int) -> None:
        """Forward, loss, and back to every dL/df_k."""
        network, rows, trace = self.network, self.rows, self._trace
        np.setbufsize(self._buffer_elements)  # in the context of this call alone
        for dropout in trace.dropouts:
            if dropout is not None:
                dropout.step = step
        trace.h[0] = x[rows]
        forward(network.ops, network.parameters, network.activations, trace)
        dl_df = self._gradients.dl_df[-1]
        self._loss_primitive(
            trace.output, y[rows], share[rows], self.loss, dl_df, self._loss_scratch, **self._loss_parameters
        )
        backward_hidden(network.ops, network.parameters, network.activations, trace, self._gradients)


def _weight_rows(gradients: ParameterBuffer, thread: int, threads: int) -> list[_WeightRows]:
    """The rows of every Omega_k that are this thread's; none of a layer with fewer units than threads for some."""
    own = []
    layout = gradients.layout
    for k, ((units, inputs), offset) in enumerate(
        zip(layout.weight_shapes, layout.weight_offsets, strict=True)
    ):
        start, stop = _edges(units, threads, 1)[thread]
        if start < stop:
            own.append(_WeightRows(k, slice(start, stop), offset + start * inputs, offset + stop * inputs))
    return own


def _edges(size: int, parts: int, multiple: int) -> list[tuple[int, int]]:
    """Start and stop of `parts` pieces of 0..size of nearly the same size, cut at multiples."""
    cuts = [round(size * i / parts / multiple) * multiple for i in range(parts)]
    return list(zip(cuts, [*cuts[1:], size], strict=True))


def _together(work: Callable[[Any], None], arguments: Sequence[Any]) -> None:
    """Call `work` with each of the arguments, the first in this thread and the others in the pool's.

    NumPy keeps by context what it does about overflow and how large its buffers are: each call gets a copy of ours.
    """
    first, *others = arguments
    pool = _pool(len(others))
    running = [pool.submit(copy_context().run, work, each) for each in others]
    try:
        copy_context().run(work, first)
    finally:
        wait(running)  # before any memory is used again
    for future in running:
        future.result()
