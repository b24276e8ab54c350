"""Every gradient beside finite differences of the loss, which know nothing of the chain rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.explanation.passes import Passes
from gpu_mlp.network.gradient_check import slopes_along_signs

__all__ = ["MOST_SINGLE", "ArrayCheck", "check_derivatives"]

# A network with more parameters is checked with less exact differences, and one with still more along one direction for
# each array.
MOST_EXACT, MOST_SINGLE = 256, 2048
FIRST_STEP, LEVELS = 1e-3, 3  # of the less exact ones
TOLERANCES = {"float64": 1e-6, "float32": 1e-3}


@dataclass(frozen=True)
class ArrayCheck:
    """dL/dOmega_k or dL/dbeta_k, and the same by differences.

    key: of the gradient. numeric: by differences, in its shape as the package has it, NaN where every difference met a
    kink; None where only the slope along one direction was taken. own, measured: the gradient and the slope by
    differences where they are farthest apart. difference: between these, relative to the largest gradient of the array,
    or to the slope; all three NaN where none could be taken. at_kinks: how many could not.
    """

    key: str
    numeric: NDArray[np.float64] | None
    own: float
    measured: float
    difference: float
    at_kinks: int
    tolerance: float

    @property
    def passed(self) -> bool | None:
        """Whether all that could be taken agree; None where none could."""
        return None if np.isnan(self.difference) else self.difference <= self.tolerance


def check_derivatives(passes: Passes) -> list[ArrayCheck]:
    """For k = 0..K the weights and then the biases, by (L(p + h v) - L(p - h v)) / 2h extrapolated to h = 0."""
    problem = passes.problem
    network = problem.network
    check = _one_by_one if network.parameter_count <= MOST_SINGLE else _along_a_direction
    slope = problem.central_difference
    if network.parameter_count > MOST_EXACT:
        slope = partial(slope, first_step=FIRST_STEP, levels=LEVELS)
    return [
        ArrayCheck(key, *check(slope, own, mask), TOLERANCES[network.dtype])
        for k, weights, biases in problem.masks()
        for key, own, mask in (
            (f"dl_domega_{k}", passes.dl_domega[k], weights),
            (f"dl_dbeta_{k}", passes.dl_dbeta[k], biases),
        )
    ]


Slope = Callable[[NDArray[np.float64]], float | None]
Found = tuple[NDArray[np.float64] | None, float, float, float, int]
NOTHING = float("nan")


def _one_by_one(slope: Slope, own: NDArray[Any], mask: NDArray[np.bool_]) -> Found:
    slopes = np.empty(own.size)
    for place, position in enumerate(np.flatnonzero(mask)):
        direction = np.zeros(mask.shape)
        direction[position] = 1.0
        found = slope(direction)
        slopes[place] = NOTHING if found is None else found
    numeric = slopes.reshape(own.shape)
    at_kinks = int(np.isnan(numeric).sum())
    if at_kinks == numeric.size:
        return numeric, NOTHING, NOTHING, NOTHING, at_kinks
    distances = np.abs(numeric - own)
    worst = np.unravel_index(np.nanargmax(distances), own.shape)
    largest = float(np.max(np.abs(own))) or 1.0
    return numeric, float(own[worst]), float(numeric[worst]), float(distances[worst]) / largest, at_kinks


def _along_a_direction(slope: Slope, own: NDArray[Any], mask: NDArray[np.bool_]) -> Found:
    gradient = np.zeros(mask.shape)
    gradient[mask] = own.ravel()
    found = slopes_along_signs(np.random.default_rng(0), slope, gradient, mask)
    if found is None:
        return None, NOTHING, NOTHING, NOTHING, 1
    measured, expected = found
    return None, expected, measured, abs(measured - expected) / (abs(expected) or 1.0), 0
