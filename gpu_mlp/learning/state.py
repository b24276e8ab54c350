"""`TrainingState`: all that a run is between two steps, from which another process goes on to the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.errors import ShapeError
from gpu_mlp.learning.history import History

__all__ = ["TrainingState", "take"]


@dataclass
class TrainingState:
    """A run after some epochs and `position` steps of the next one.

    Attributes:
        rows, steps_per_epoch: of the training table, which must be the same to go on.
        position: steps done of the epoch after those of the history.
        seconds: that this epoch has taken so far.
        arrays: by name, on the host, float32 or float64: parameters, the optimizer's, the losses of this epoch's steps,
            and what schedule, early stopping and the loss's scale remember. Random numbers need nothing: they are
            functions of seed, epoch and step.
        history: every epoch that is done.
    """

    rows: int
    steps_per_epoch: int
    position: int
    seconds: float
    arrays: dict[str, NDArray[Any]]
    history: History

    @property
    def steps(self) -> int:
        """Done since the start of the run."""
        return len(self.history) * self.steps_per_epoch + self.position


def take(state: TrainingState, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """One of its arrays. Raises ShapeError where it has none that fits."""
    array = state.arrays.get(name)
    if array is None or array.shape != shape:
        has = "no array" if array is None else f"an array of shape {array.shape}"
        raise ShapeError(
            f"the saved state has {has} for {name}, but this run needs shape {shape}; "
            "go on with the network, the settings and the table that it was saved with"
        )
    return np.asarray(array)
