"""The step that Numba compiles for the processor: whole steps, several to a call, without Python between them.

Imported only where Numba is installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.blas_threads import products_of
from gpu_mlp.backends.compiled.losses import loss_address
from gpu_mlp.backends.compiled.optimizers import constants_of, optimizer_address
from gpu_mlp.backends.compiled.passes import OUTPUTS, F
from gpu_mlp.backends.compiled.products import gemm_address
from gpu_mlp.backends.compiled.rows import row_shares
from gpu_mlp.backends.compiled.steps import compiled_steps
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.steps.after import After
from gpu_mlp.learning.steps.batch import Batch
from gpu_mlp.learning.steps.finish import Finish
from gpu_mlp.network.compiled import place_layers
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["CompiledStep"]

# Multiplications of a call, which takes a millisecond of them: what pauses a run is heard of between calls.
MULTIPLICATIONS_A_CALL = 1 << 26
MOST_STEPS_A_CALL = 256
NO_ORDER = np.empty(0, np.int64)


@dataclass(frozen=True)
class _Bound:
    """What a call is given of an optimizer, or of none, which leaves it at the gradients."""

    optimizer: OptimizerState | None
    memory: tuple[Array, Array, Array, Array]
    update: int
    constants: NDArray[np.float64]


class CompiledStep:
    """All memory for steps of exactly `rows` rows, and the step.

    `products` is the context in which it computes.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        gradients: ParameterBuffer,
        batch: Batch,
        *,
        beside_reader: bool = False,
    ) -> None:
        dtype, rows = network.dtype, len(batch.x)
        batch.row_shares = row_shares(dtype)
        self.network = network
        self.loss: Array = np.zeros((), dtype)
        self._batch, self._loss, self.gradients = batch, loss, gradients
        work = 3 * rows * network.parameter_count
        largest = rows * max(i * o for i, o in pairwise(network.layer_sizes))
        self.products = products_of(largest, work, beside_reader=beside_reader)
        self._steps_a_call = min(max(MULTIPLICATIONS_A_CALL // work, 1), MOST_STEPS_A_CALL)
        self._steps, self._gemm = compiled_steps(dtype), gemm_address(dtype)
        self._layers, units = place_layers(network.parameters.layout, network.activations, rows, dtype)
        self._units, self._errors = np.empty(units, dtype), np.empty(units, dtype)
        self._share = np.empty(rows, dtype)
        self._none = np.empty(0, dtype)
        self._parameter = float(next(iter(loss.parameters.values()), 0.0))
        self._weights = network.parameters.layout.bias_offsets[0]
        self._bound: _Bound | None = None

    def compute_gradients(self, x: Array, y: Array, share: Array, step: int) -> None:
        """Forward, loss and backward: fills `loss` and `gradients`."""
        self._run(x, y, share, None, 0.0, None)

    def run(
        self,
        x: Array,
        y: Array,
        share: Array,
        optimizer: OptimizerState,
        learning_rate: float,
        finish: Finish | None,
    ) -> None:
        """The whole step on a batch from anywhere."""
        with self.products:
            self._run(x, y, share, optimizer, learning_rate, finish)

    def _run(
        self,
        x: Array,
        y: Array,
        share: Array,
        optimizer: OptimizerState | None,
        learning_rate: float,
        finish: Finish | None,
    ) -> None:
        if not (x.flags.writeable and x.flags.aligned):
            self._batch.x[...] = x
            x = self._batch.x
        y = np.require(y, requirements="A")
        self._call(
            (0, 0, 0, 0),
            NO_ORDER,
            self._none,
            x,
            y,
            share,
            [learning_rate],
            self.loss.reshape(1),
            optimizer,
            finish,
        )

    def run_steps(
        self,
        table: tuple[Array, Array, Array | None],
        order: Array,
        learning_rates: Sequence[float],
        losses: Array,
        optimizer: OptimizerState,
        finish: Finish | None,
        after: After,
    ) -> None:
        """One step for each learning rate on the rows `order` (S B,) of a table: x (N, D_0), y, and weights or None.

        Writes every step's loss into losses (S,) and calls `after` with the number of steps done so far, which leaves
        the rest by returning True.
        """
        x, y, weights = table
        x, y = np.require(x, requirements=["A", "C"]), np.require(y, requirements=["A", "C"])
        own_weights, share, where = self._none, self._batch.shares(None), 0
        if weights is not None:
            weights = np.require(weights, requirements="A")
            own_weights, share, where = self._batch.weights, self._share, weights.ctypes.data
        rows, own_y = len(share), self._batch.targets_like(y)
        addresses = x.ctypes.data, y.ctypes.data, y[:1].nbytes, where
        for first in range(0, len(learning_rates), self._steps_a_call):
            rates = learning_rates[first : first + self._steps_a_call]
            last = first + len(rates)
            index = np.require(order[first * rows : last * rows], np.int64, ["C", "W"])
            batch = self._batch.x, own_y, share
            with self.products:
                self._call(
                    addresses, index, own_weights, *batch, rates, losses[first:last], optimizer, finish
                )
            self.loss[...] = losses[last - 1]
            if after(last):
                return

    def _call(
        self,
        table: tuple[int, int, int, int],
        order: Array,
        weights: Array,
        x: Array,
        y: Array,
        share: Array,
        learning_rates: Sequence[float],
        losses: Array,
        optimizer: OptimizerState | None,
        finish: Finish | None,
    ) -> None:
        bound = self._bound
        if bound is None or bound.optimizer is not optimizer:
            bound = self._bound = self._bind(optimizer)
        norm, penalty, total, largest_norm = self._none, 0.0, 1.0, math.inf
        if finish is not None:
            norm, penalty, total = finish.norm.reshape(1), finish.l2_penalty, float(finish.total)
            largest_norm = math.inf if finish.clip_norm is None else finish.clip_norm
        loss = self._loss
        loss_function = loss_address(loss.name, self.network.dtype, labels=y.ndim == 1)
        self._steps(
            self._layers,
            (*bound.memory, self._units, self._errors, norm),
            table,
            order,
            weights,
            x,
            y.ctypes.data,
            share,
            (loss_function, bound.update, self._weights, self._gemm),
            (self._parameter, loss.factor, loss.reported, penalty, largest_norm),
            total,
            bound.constants,
            np.array(learning_rates, np.float64),
            0 if optimizer is None else optimizer.step + 1,
            losses,
        )
        if optimizer is not None:
            optimizer.step += len(learning_rates)

    def _bind(self, optimizer: OptimizerState | None) -> _Bound:
        parameters, gradients = self.network.parameters.flat, self.gradients.flat
        if optimizer is None:
            return _Bound(None, (parameters, gradients, self._none, self._none), 0, constants_of({}))
        states = [*optimizer.arrays.values(), self._none, self._none]
        return _Bound(
            optimizer=optimizer,
            memory=(parameters, gradients, states[0], states[1]),
            update=optimizer_address(optimizer.optimizer.primitive, self.network.dtype),
            constants=constants_of(optimizer.optimizer.constants()),
        )

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether all of the last step were finite; see `LayerwiseStep.finite_layers`."""
        rows = len(self._share)
        places = [slice(layer[F], layer[F] + rows * layer[OUTPUTS]) for layer in self._layers]
        return [bool(np.isfinite(self._units[place]).all()) for place in places]
