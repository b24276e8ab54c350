"""The step that Numba compiles for the processor: whole steps, several to a call, without Python between them.

Imported only where Numba is installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.blas_threads import FEWEST_BESIDE_READER, one_blas_thread, products_of
from gpu_mlp.backends.compiled.job import job_array
from gpu_mlp.backends.compiled.losses import loss_address
from gpu_mlp.backends.compiled.narrow_losses import narrow_loss_address
from gpu_mlp.backends.compiled.optimizers import constants_of, optimizer_address
from gpu_mlp.backends.compiled.passes import OUTPUTS, F
from gpu_mlp.backends.compiled.products import gemm_address
from gpu_mlp.backends.compiled.rows import row_shares
from gpu_mlp.backends.compiled.step_parts import part_addresses
from gpu_mlp.backends.compiled.steps import steps_address, steps_on_batch, steps_on_table
from gpu_mlp.backends.compiled.team import helped
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.steps.after import After
from gpu_mlp.learning.steps.batch import Batch
from gpu_mlp.learning.steps.finish import Finish
from gpu_mlp.network.compiled import (
    ROWS_AT_ONCE,
    is_narrow,
    place_layers,
    step_parts,
    takes_gradients_by_outputs,
)
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["CompiledStep"]

# Multiplications of a call, which takes a millisecond of them: what pauses a run is heard of between calls.
MULTIPLICATIONS_A_CALL = 1 << 26
MOST_STEPS_A_CALL = 256


class CompiledStep:
    """All memory for steps of exactly `rows` rows, and the step.

    `products` is the context in which it computes. The parts that a step is cut into are fixed by the rows and the
    threads that BLAS has, and so are its bits, whoever computes them.
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
        self._batch, self._loss, self._gradients = batch, loss, gradients
        layout = network.parameters.layout
        self._is_narrow, parts = is_narrow(layout), step_parts(layout, rows)
        self._work = 3 * rows * network.parameter_count
        self.products = self._products(rows, parts, beside_reader=beside_reader)
        self._may_have_help = parts > 1 and not (beside_reader and self._work <= FEWEST_BESIDE_READER)
        self._steps_a_call = min(max(MULTIPLICATIONS_A_CALL // self._work, 1), MOST_STEPS_A_CALL)
        self._layers, units = place_layers(layout, network.activations, rows, dtype)
        self._units, self._errors = np.empty(units, dtype), np.empty(units, dtype)
        self._by_unit = np.empty((network.layer_sizes[0], rows) if self._is_narrow else 0, dtype)
        self._share, self._sums = np.empty(rows, dtype), np.zeros((3, parts))
        self._rate, self._only_loss = np.empty(1), self.loss.reshape(1)
        self._on_table = steps_on_table(dtype)
        self._on_batch = {labels: steps_on_batch(dtype, labels=labels) for labels in (False, True)}
        self._job = self._new_job(rows, parts)
        self._optimizer: OptimizerState | None = None
        self._labels: bool | None = None
        self._is_finished = False

    def _products(self, rows: int, parts: int, *, beside_reader: bool) -> AbstractContextManager[None]:
        if self._is_narrow:
            return nullcontext()  # BLAS computes nothing
        if parts > 1:
            return one_blas_thread
        largest = rows * max(i * o for o, i in self.network.parameters.layout.weight_shapes)
        return products_of(largest, self._work, beside_reader=beside_reader)

    def _new_job(self, rows: int, parts: int) -> Array:
        """What is told for good."""
        dtype, layout, loss = self.network.dtype, self.network.parameters.layout, self._loss
        job = job_array(dtype)
        arrays = {
            "layers": self._layers,
            "parameters": self.network.parameters.flat,
            "gradients": self._gradients.flat,
            "units": self._units,
            "errors": self._errors,
            "part_sums": self._sums,
        }
        if self._is_narrow:
            arrays["inputs"] = self._by_unit
        by_outputs = not self._is_narrow and takes_gradients_by_outputs(layout, rows)
        if parts > 1 and not by_outputs:
            self._part_gradients = np.zeros((parts - 1, layout.size), dtype)
            arrays["part_gradients"] = self._part_gradients
        numbers = {
            "block": rows if by_outputs else ROWS_AT_ONCE,
            "weight_count": layout.bias_offsets[0],
            "gemm": gemm_address(dtype),
            "steps_loop": steps_address(dtype),
            "layer_count": layout.layers,
            "size": layout.size,
            "unit_count": self._units.size,
            "rows": rows,
            "parts": parts,
            "loss_parameter": next(iter(loss.parameters.values()), 0.0),
            "loss_factor": loss.factor,
            "reported": loss.reported,
            "largest_norm": math.inf,
        }
        numbers |= part_addresses(dtype, narrow=self._is_narrow)
        if not by_outputs:
            numbers["gradients_part"] = 0
        for name, array in arrays.items():
            job[name] = array.ctypes.data
        for name, number in numbers.items():
            job[name] = number
        return job

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
        x, y, share = (each if each.flags.carray else each.copy() for each in (x, y, share))
        self._prepare(y, optimizer, finish)
        self._rate[0] = learning_rate
        on_batch = self._on_batch[y.ndim == 1]
        with self.products, self._help(1) as team:
            on_batch(self._job, team, x, y, share, self._rate, optimizer.step + 1, self._only_loss)
        optimizer.step += 1

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
        weights = None if weights is None else np.require(weights, requirements=["A", "C"])
        rows = len(self._share)
        self._prepare(y, optimizer, finish)
        self._point_at(x, y, weights)
        for first in range(0, len(learning_rates), self._steps_a_call):
            rates = np.array(learning_rates[first : first + self._steps_a_call], np.float64)
            last = first + len(rates)
            index = np.require(order[first * rows : last * rows], np.int64, ["C", "W"])
            with self.products, self._help(len(rates)) as team:
                self._on_table(self._job, team, index, rates, optimizer.step + 1, losses[first:last])
            optimizer.step += len(rates)
            self.loss[...] = losses[last - 1]
            if after(last):
                return

    def _point_at(self, x: Array, y: Array, weights: Array | None) -> None:
        """The job at a table, and at the batch's own memory for its rows."""
        job, batch = self._job, self._batch
        own = {"table_x": x, "table_y": y, "x": batch.x, "y": batch.targets_like(y)}
        own["share"] = batch.shares(None) if weights is None else self._share
        if weights is not None:
            own |= {"table_weights": weights, "weights": batch.weights}
        job["weights"], job["table_rows"] = 0, len(x)
        for name, array in own.items():
            job[name] = array.ctypes.data

    def _help(self, steps: int) -> AbstractContextManager[int]:
        """Whoever computes parts of a call's steps beside this thread."""
        return helped(len(self._sums[0]) if self._may_have_help else 1, steps * self._work)

    def _prepare(self, y: Array, optimizer: OptimizerState, finish: Finish | None) -> None:
        """What is told again only where it is not as it was in the last call."""
        if self._labels is not (y.ndim == 1):
            self._labels = y.ndim == 1
            find = narrow_loss_address if self._is_narrow else loss_address
            self._job["loss_function"] = find(self._loss.name, self.network.dtype, labels=self._labels)
            self._job["target_bytes"] = y[:1].nbytes
        if self._optimizer is not optimizer:
            self._bind(optimizer)
        if finish is not None:
            self._job["l2_penalty"], self._job["total"] = finish.l2_penalty, float(finish.total)
            self._job["largest_norm"] = math.inf if finish.clip_norm is None else finish.clip_norm
            self._job["norm"] = finish.norm.ctypes.data
        elif self._is_finished:
            self._job["l2_penalty"], self._job["largest_norm"] = 0.0, math.inf
        self._is_finished = finish is not None

    def _bind(self, optimizer: OptimizerState) -> None:
        self._optimizer = optimizer
        self._constants = constants_of(optimizer.optimizer.constants())
        job = self._job
        job["constants"] = self._constants.ctypes.data
        job["optimizer"] = optimizer_address(optimizer.optimizer.primitive, self.network.dtype)
        states = [array.ctypes.data for array in optimizer.arrays.values()]
        job["first_state"], job["second_state"] = [*states, 0, 0][:2]

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether all of the last step were finite; see `LayerwiseStep.finite_layers`."""
        rows = len(self._share)
        places = [slice(layer[F], layer[F] + rows * layer[OUTPUTS]) for layer in self._layers]
        return [bool(np.isfinite(self._units[place]).all()) for place in places]
