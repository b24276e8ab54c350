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

from gpu_mlp.backends.base import Array, Captured, Graphs
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.steps.layerwise import LayerwiseStep
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
        loss: Loss,
        gradients: ParameterBuffer,
        rows: int,
        *,
        graphs: Graphs,
        dropout: float,
        seed: int,
    ) -> None:
        xp, dtype = network.ops.xp, network.dtype
        self.network = network
        self._graphs = graphs
        self._rows = rows
        self._step = LayerwiseStep(network, loss, gradients, rows, dropout=dropout, seed=seed)
        self.loss = self._step.loss
        self._x: Array = xp.empty((rows, network.layer_sizes[0]), dtype)
        self._y: Array | None = None
        self._weights: Array = xp.empty(rows, dtype)
        self._total: Array = xp.empty((), dtype)
        self._share: Array = xp.empty(rows, dtype)
        self._equal_share: Array = xp.full(rows, 1.0 / rows, dtype)
        self._position: Array = xp.zeros((), np.int64)
        # By what is captured: its graph, or None after it ran once; and whom a graph keeps alive.
        self._captured: dict[Hashable, Captured | None] = {}
        self._tables: list[Any] = []
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
        clip: Callable[[Array], None] | None,
    ) -> None:
        """The whole step on a batch from anywhere, which is copied into the step's own memory."""
        own_y = self._targets(y)
        self._x[...], own_y[...], self._share[...] = x, y, share
        optimizer.begin_step()
        self._graphs.set_clock(self._clock_rows(optimizer, [learning_rate])[0])
        self._replay(
            ("batch", own_y.ndim, own_y.dtype), lambda: self._compute(own_y, self._share, optimizer, clip)
        )

    def run_steps(
        self,
        table: tuple[Array, Array, Array | None],
        order: Array,
        learning_rates: Sequence[float],
        losses: Array,
        optimizer: OptimizerState,
        clip: Callable[[Array], None] | None,
        after: Callable[[int], None],
    ) -> None:
        """One step for each learning rate on the rows `order` (S B,) of a table: x (N, D_0), y, and weights or None.

        Writes every step's loss into losses (S,) and calls `after` with the number of steps launched so far.
        """
        steps = len(learning_rates)
        if steps > len(self._losses):
            self._reserve(steps)
        if not any(known is table for known in self._tables):
            self._tables.append(table)  # an id is a table's own as long as it lives
        own_y = self._targets(table[1])
        to_device = self.network.ops.to_device
        optimizer.step += 1
        self._table[:steps] = to_device(np.array(self._clock_rows(optimizer, learning_rates)))
        optimizer.step -= 1
        self._order[: order.size] = order
        self._position.fill(0)
        done = 0
        while done < steps:
            count = STEPS_A_LAUNCH if steps - done >= STEPS_A_LAUNCH else 1
            optimizer.step += count
            work = partial(self._epoch_steps, count, table, own_y, optimizer, clip)
            self._replay((count, id(table)), work)
            done += count
            after(done)
        losses[...] = self._losses[:steps]

    def _clock_rows(self, optimizer: OptimizerState, learning_rates: Sequence[float]) -> list[list[float]]:
        """The clocks of the steps from the optimizer's current one on."""
        primitive, constants = optimizer.optimizer.primitive, optimizer.optimizer.constants()
        return [
            self._graphs.clock_row(primitive, rate, optimizer.step + i, **constants)
            for i, rate in enumerate(learning_rates)
        ]

    def _targets(self, y: Array) -> Array:
        """Memory for the targets of a batch like those."""
        if self._y is None or self._y.ndim != y.ndim or self._y.dtype != y.dtype:
            self._y = self.network.ops.xp.empty((self._rows, *y.shape[1:]), y.dtype)
        return self._y

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
        own_y: Array,
        optimizer: OptimizerState,
        clip: Callable[[Array], None] | None,
    ) -> None:
        graphs, (x, y, weights) = self._graphs, table
        for _ in range(count):
            graphs.load_clock(self._table, self._position)
            graphs.gather_batch(x, self._order, self._position, self._x, self._rows)
            graphs.gather_batch(y, self._order, self._position, own_y, self._rows)
            share = self._equal_share
            if weights is not None:
                graphs.gather_batch(weights, self._order, self._position, self._weights, self._rows)
                self.network.ops.row_shares(self._weights, self._total, self._share)
                share = self._share
            self._compute(own_y, share, optimizer, clip)
            graphs.end_step(self.loss, self._losses, self._position)

    def _compute(
        self, y: Array, share: Array, optimizer: OptimizerState, clip: Callable[[Array], None] | None
    ) -> None:
        """Gradients, clipping and update of the optimizer's current step."""
        step, gradients = self._step, self._step.gradients.flat
        step.compute_gradients(self._x, y, share, optimizer.step)
        if clip is not None:
            clip(gradients)
        optimizer.update_range(gradients, 0.0, 0, gradients.size)  # the learning rate is the clock's

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether all of the last step were finite; see `LayerwiseStep.finite_layers`."""
        return self._step.finite_layers()
