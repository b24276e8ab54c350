"""The loss of a whole table and its gradient, for solvers that take no mini-batches."""

from __future__ import annotations

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.config import Loss
from gpu_mlp.learning.steps.batch import Batch
from gpu_mlp.learning.steps.layerwise import LayerwiseStep
from gpu_mlp.learning.tables import Table
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["Objective"]


class Objective:
    """L + alpha / (2 S) sum |Omega_k|^2 over all rows of a table, as a function of the flat parameters.

    Args:
        network: whose parameters are set by every evaluation.
        loss: with its parameters.
        table: on the network's device.
        l2_penalty: alpha; S is the sum of the sample weights, or the number of rows.
        precision: of the products, as in `TrainingConfig`.
    """

    def __init__(
        self, network: Network, loss: Loss, table: Table, *, l2_penalty: float = 0.0, precision: str = "auto"
    ) -> None:
        ops, rows = network.ops, len(table)
        factors = Factors(ops, network.parameters, precision)
        self._network, self._loss, self._alpha = network, loss, l2_penalty
        self._gradients = ParameterBuffer(ops, network.parameters.layout, network.dtype)
        self._step = LayerwiseStep(network, factors, loss, self._gradients, rows, dropout=0.0, seed=0)
        batch = Batch(factors, loss, network.layer_sizes, rows, network.dtype)
        x, y, weights = table.arrays
        self._x, self._y = batch.inputs(x), y
        self._share, self._total = batch.shares(weights), batch.total(weights)
        self._scratch: Array = ops.xp.empty_like(network.parameters.flat)

    def __call__(self, flat: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, Array]:
        """The loss at the parameters (P,), and its gradient (P,), both in float64 on the host."""
        network, step, gradients = self._network, self._step, self._gradients.flat
        ops, parameters = network.ops, network.parameters
        parameters.flat[...] = ops.to_device(flat.astype(network.dtype))
        with np.errstate(over="ignore", invalid="ignore"), step.products:
            step.compute_gradients(self._x, self._y, self._share, 0)
            if self._loss.reported != 1.0:
                ops.xp.multiply(step.loss, self._loss.reported, out=step.loss)
            if self._alpha > 0.0:
                end = parameters.layout.bias_offsets[0]
                weights, theirs = parameters.flat[:end], gradients[:end]
                ops.l2_penalty(self._alpha, weights, theirs, self._total, step.loss, self._scratch)
        return float(step.loss), ops.to_host(gradients).astype(np.float64)
