"""One training step captured as a CUDA graph and replayed, several steps to a launch where a whole epoch is known.

A graph repeats its launches with the same arguments on the same memory. So the step owns every buffer, and what
changes from step to step lies in device memory: the clock (step, learning rate, the optimizer's constants), and in an
epoch the order of the rows, a table of clocks, and the position in both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.graphs_and_copies import Captured, Graphs
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.steps.after import After
from gpu_mlp.learning.steps.batch import Batch
from gpu_mlp.learning.steps.finish import Finish
from gpu_mlp.learning.steps.layerwise import LayerwiseStep
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["STEPS_A_LAUNCH", "GraphStep"]

logger = logging.getLogger("gpu_mlp")

STEPS_A_LAUNCH = 16


class GraphStep:
    """All memory for steps of exactly `rows` rows, and their graphs.

    What is to be captured runs once as plain launches first, so that every kernel is compiled and every product
    planned. Where the capture fails, the log says so and plain launches go on.
    """

    def __init__(
        self,
        network: Network,
        factors: Factors,
        loss: Loss,
        gradients: ParameterBuffer,
        rows: int,
        *,
        graphs: Graphs,
        batch: Batch,
        dropout: float,
        seed: int,
        loss_scale: Array | None = None,
    ) -> None:
        xp, dtype = network.ops.xp, network.dtype
        self.network = network
        self._graphs = graphs
        self._rows = rows
        self._batch = batch
        self._step = LayerwiseStep(
            network, factors, loss, gradients, rows, dropout=dropout, seed=seed, loss_scale=loss_scale
        )
        self.loss = self._step.loss
        self._share: Array = xp.empty(rows, dtype)
        self._position: Array = xp.zeros((), np.int64)
        # By what is captured: its graph, or None after it ran once; and whom a graph keeps alive.
        self._captured: dict[Hashable, Captured | None] = {}
        self._tables: dict[int, Any] = {}
        self._reserve(0)

    def _reserve(self, steps: int) -> None:
        """Memory for an epoch of `steps` steps. Graphs on the old memory are forgotten."""
        xp = self.network.ops.xp
        self._table: Array = xp.zeros((steps, 8), np.float64)
        self._order: Array = xp.zeros(steps * self._rows, np.int64)
        self._losses: Array = xp.zeros(steps, self.network.dtype)
        self._captured.clear()

    def run(
        self,
        x: Array,
        y: Array,
        share: Array,
        optimizer: OptimizerState,
        learning_rate: float,
        finish: Finish | None,
    ) -> None:
        """The whole step on a batch from anywhere, which is copied into the step's own memory."""
        own_y = self._batch.targets_like(y)
        if x is not self._batch.x:
            self._batch.x[...] = x
        own_y[...], self._share[...] = y, share
        self._graphs.set_clock(self._clock_rows(optimizer, [learning_rate])[0])
        optimizer.begin_step()
        self._replay(
            ("batch", own_y.ndim, own_y.dtype), lambda: self._compute(own_y, self._share, optimizer, finish)
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

        Writes every step's loss into losses (S,) and calls `after` with the number of steps launched so far, which
        leaves the rest by returning True.
        """
        steps = len(learning_rates)
        if steps > len(self._losses):
            self._reserve(steps)
        self._tables[id(table)] = table  # an id is a table's own as long as it lives
        clocks = np.array(self._clock_rows(optimizer, learning_rates))
        self._table[:steps] = self.network.ops.to_device(clocks)
        self._order[: order.size] = order
        self._position.fill(0)
        done = 0
        while done < steps:
            count = STEPS_A_LAUNCH if steps - done >= STEPS_A_LAUNCH else 1
            optimizer.step += count
            work = partial(self._epoch_steps, count, table, optimizer, finish)
            self._replay((count, id(table)), work)
            done += count
            if after(done):
                break
        losses[:done] = self._losses[:done]

    def _clock_rows(self, optimizer: OptimizerState, learning_rates: Sequence[float]) -> list[list[float]]:
        """The clocks of the optimizer's next steps."""
        primitive, constants = optimizer.optimizer.primitive, optimizer.optimizer.constants()
        return [
            self._graphs.clock_row(primitive, rate, step, **constants)
            for step, rate in enumerate(learning_rates, optimizer.step + 1)
        ]

    def _replay(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do the work: as plain launches the first time, and from then on as a graph."""
        if key not in self._captured:
            self._captured[key] = None
            self._plainly(work)
            return
        captured = self._captured[key]
        if captured is None:
            captured = self._captured[key] = self._capture(work)
        captured()

    def _plainly(self, work: Callable[[], None]) -> None:
        with self._graphs.held_clock():
            work()

    def _capture(self, work: Callable[[], None]) -> Captured:
        try:
            with self._graphs.held_clock():
                return self._graphs.capture(work)
        except Exception as error:  # whatever the driver or CuPy refuses
            logger.warning("a step could not be captured and runs as plain launches: %s", error)
            return lambda: self._plainly(work)

    def _epoch_steps(
        self,
        count: int,
        table: tuple[Array, Array, Array | None],
        optimizer: OptimizerState,
        finish: Finish | None,
    ) -> None:
        graphs, batch, (x, y, weights) = self._graphs, self._batch, table
        own_y = batch.targets_like(y)
        own_weights = None if weights is None else batch.weights
        for _ in range(count):
            graphs.load_clock(self._table, self._position)
            for rows, out in ((x, batch.x), (y, own_y), (weights, own_weights)):
                if rows is not None and out is not None:
                    graphs.gather_batch(rows, self._order, self._position, out, self._rows)
            share = batch.shares(own_weights)
            self._compute(own_y, share, optimizer, finish)
            graphs.end_step(self.loss, self._losses, self._position)

    def _compute(self, y: Array, share: Array, optimizer: OptimizerState, finish: Finish | None) -> None:
        """Gradients, what finishes them, and update of the optimizer's current step."""
        step, gradients = self._step, self._step.gradients.flat
        step.compute_gradients(self._batch.x, y, share, optimizer.step)
        if finish is not None:
            finish(gradients, self.loss)
        optimizer.update_range(gradients, 0.0, 0, gradients.size)  # the learning rate is the clock's

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether all of the last step were finite; see `LayerwiseStep.finite_layers`."""
        return self._step.finite_layers()
