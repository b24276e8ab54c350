"""gpu_mlp's contestants: one captured step, 16 captured steps to a launch, and plain launches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gpu_mlp
from gpu.problems import BETA1, BETA2, EPSILON, FIRST_SCALE, Problem
from gpu_mlp.learning.steps.cuda_graph import STEPS_A_LAUNCH

__all__ = ["OwnEpoch", "OwnSteps", "own_epoch", "own_plain", "own_step"]

WARM_UP = 3
# Of an epoch, which is from 2 launches long, to have the compared steps in one, to 16.
MOST_ROWS = 1 << 20
MOST_FLOPS = 5 * 10**12


class OwnSteps:
    """`step(x, y)` on arrays that are on the device already."""

    steps_a_call = 1

    def __init__(self, problem: Problem, device: str, *, graphs: bool = True) -> None:
        self.network = problem.network(device)
        if not graphs:
            self.network.ops = replace(self.network.ops, graphs=None)
        ops = self.network.ops
        self.x, self.y = map(ops.to_device, problem.data())
        self.step = gpu_mlp.TrainingStep(
            self.network,
            loss=problem.loss,
            optimizer=gpu_mlp.Adam(problem.learning_rate, beta1=BETA1, beta2=BETA2, epsilon=EPSILON),
            batch_size=problem.batch,
            precision=problem.precision,
        )
        self._initial = self.network.parameters.flat.copy()

    def prepare(self) -> None:
        """Compile, plan and capture; and then start anew from the initial weights."""
        self.run(WARM_UP * self.steps_a_call)
        self.restart()

    def restart(self) -> None:
        """The initial weights and the loss's first scale, and an optimizer that has done nothing."""
        self.network.parameters.flat[...] = self._initial
        for array in self.step.optimizer.arrays.values():
            array[...] = 0
        self.step.optimizer.step = 0
        if (loss_scale := self.step.loss_scale) is not None:
            loss_scale.scale[...] = FIRST_SCALE
            for count in (loss_scale.steps, loss_scale.skip, loss_scale.skipped):
                count[...] = 0

    def losses(self, count: int) -> list[float]:
        """Of the next `count` steps."""
        return [float(self.step(self.x, self.y)) for _ in range(count)]

    def run(self, steps: int) -> None:
        """Steps, and then wait for the device."""
        for _ in range(steps):
            self.step(self.x, self.y)
        self.network.ops.synchronize()


class OwnEpoch(OwnSteps):
    """`run_steps`, as a training runs an epoch, on a table that is the batch: every step has the same rows."""

    def __init__(self, problem: Problem, device: str) -> None:
        super().__init__(problem, device)
        most = min(MOST_ROWS // problem.batch, MOST_FLOPS // problem.flops)
        self.steps_a_call = min(max(most // STEPS_A_LAUNCH, 2), 16) * STEPS_A_LAUNCH
        xp = self.network.ops.xp
        self._table = (self.x, self.y, None)
        self._order = xp.tile(xp.arange(problem.batch, dtype=xp.int64), self.steps_a_call)
        self._losses = xp.zeros(self.steps_a_call, problem.dtype)

    def losses(self, count: int) -> list[float]:
        """Of the next `count` steps, at most `steps_a_call`, in one epoch."""
        losses = self._losses[:count]
        self._epoch(count, losses)
        return [float(each) for each in self.network.ops.to_host(losses)]

    def run(self, steps: int) -> None:
        """Whole epochs, and then wait for the device."""
        for _ in range(max(1, round(steps / self.steps_a_call))):
            self._epoch(self.steps_a_call, self._losses)
        self.network.ops.synchronize()

    def _epoch(self, count: int, losses: Any) -> None:
        order = self._order[: count * self.step.batch_size]
        self.step.run_steps(self._table, order, [self.step.learning_rate] * count, losses, _ignore)


def _ignore(done: int) -> None:
    """Nobody shows progress."""


def own_step(problem: Problem, device: str) -> OwnSteps:
    """A captured step a launch."""
    return OwnSteps(problem, device)


def own_epoch(problem: Problem, device: str) -> OwnSteps:
    """16 captured steps a launch."""
    return OwnEpoch(problem, device)


def own_plain(problem: Problem, device: str) -> OwnSteps:
    """Nothing captured."""
    return OwnSteps(problem, device, graphs=False)
