"""`MovingArrays`: what a training step changes, kept as it was at the start of an epoch, saved and put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.learning.state import TrainingState, take
from gpu_mlp.learning.steps import TrainingStep

__all__ = ["MovingArrays", "fill", "on_host"]

START = "start."


class MovingArrays:
    """The parameters, the optimizer's arrays, and the loss's scale where there is one."""

    def __init__(self, step: TrainingStep) -> None:
        self._step, self._ops = step, step.network.ops
        self._start = {name: array.copy() for name, array in self._now().items()}

    def _now(self) -> dict[str, Array]:
        optimizer = {f"optimizer.{name}": array for name, array in self._step.optimizer.arrays.items()}
        arrays = {"parameters": self._step.network.parameters.flat, **optimizer}
        if (scaling := self._step.loss_scale) is not None:
            arrays |= {"scale": scaling.scale, "scale_steps": scaling.steps, "skipped": scaling.skipped}
        return arrays

    def mark_start(self) -> None:
        """An epoch begins here."""
        for name, array in self._now().items():
            self._start[name][...] = array

    def back_to_start(self) -> None:
        """Everything but the number of steps is as it was when the epoch began."""
        for name, array in self._now().items():
            array[...] = self._start[name]

    def saved(self, *, with_start: bool) -> dict[str, NDArray[Any]]:
        """Copies on the host, of now and, within an epoch, of its start."""
        arrays = self._now()
        if with_start:
            arrays |= {START + name: array for name, array in self._start.items()}
        return {name: on_host(self._ops, array) for name, array in arrays.items()}

    def restore(self, state: TrainingState) -> None:
        """As saved. Raises ShapeError where an array does not fit."""
        fill(self._ops, self._now(), state)
        if state.position:
            fill(self._ops, {START + name: array for name, array in self._start.items()}, state)


def fill(ops: Ops, arrays: Mapping[str, Array], state: TrainingState) -> None:
    """Overwrite arrays with those of their names in a state. Raises ShapeError where one does not fit."""
    for name, array in arrays.items():
        array[...] = ops.to_device(take(state, name, array.shape).astype(array.dtype))


def on_host(ops: Ops, array: Array) -> NDArray[Any]:
    """A copy; small counters as float64."""
    return np.array(ops.to_host(array), np.float64 if array.dtype.kind == "i" else array.dtype)
