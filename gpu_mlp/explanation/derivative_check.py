"""Every gradient beside finite differences of the loss, which know nothing of the chain rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.config import Loss
from gpu_mlp.explanation.passes import Passes
from gpu_mlp.network.derivatives import DerivativeProblem
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterLayout

__all__ = ["MOST_SINGLE", "ArrayCheck", "check_derivatives"]

# A network with more parameters is checked with less exact differences, and one with still more along one direction for
# each array.
MOST_EXACT, MOST_SINGLE = 256, 2048
FIRST_STEP, LEVELS = 1e-3, 3  # of the less exact ones
ATTEMPTS = 8
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


def check_derivatives(network: Network, passes: Passes, loss: Loss) -> list[ArrayCheck]:
    """For k = 0..K the weights and then the biases, by (L(p + h v) - L(p - h v)) / 2h extrapolated to h = 0."""
    problem = DerivativeProblem.of(network, passes.h[0], passes.targets, loss, None)
    layout = ParameterLayout(network.layer_sizes)
    single = layout.parameter_count <= MOST_SINGLE
    tolerance = TOLERANCES[network.dtype]
    checks = []
    for k, (shape, at, at_beta) in enumerate(
        zip(layout.weight_shapes, layout.weight_offsets, layout.bias_offsets, strict=True)
    ):
        for key, own, place in (
            (f"dl_domega_{k}", passes.dl_domega[k], slice(at, at + shape[0] * shape[1])),
            (f"dl_dbeta_{k}", passes.dl_dbeta[k], slice(at_beta, at_beta + shape[0])),
        ):
            found = (_one_by_one if single else _along_a_direction)(problem, own, place)
            checks.append(ArrayCheck(key, *found, tolerance))
    return checks


Found = tuple[NDArray[np.float64] | None, float, float, float, int]
NOTHING = float("nan")


def _one_by_one(problem: DerivativeProblem, own: NDArray[Any], place: slice) -> Found:
    found = []
    is_quick = ParameterLayout(problem.network.layer_sizes).parameter_count > MOST_EXACT
    for position in range(place.start, place.stop):
        direction = np.zeros_like(problem.flat)
        direction[position] = 1.0
        slope = _slope(problem, direction, quick=is_quick)
        found.append(NOTHING if slope is None else slope)
    numeric = np.array(found).reshape(own.shape)
    at_kinks = int(np.isnan(numeric).sum())
    if at_kinks == numeric.size:
        return numeric, NOTHING, NOTHING, NOTHING, at_kinks
    distances = np.abs(numeric - own)
    worst = np.unravel_index(np.nanargmax(distances), own.shape)
    difference = float(distances[worst]) / _scale(own)
    return numeric, float(own[worst]), float(numeric[worst]), difference, at_kinks


def _along_a_direction(problem: DerivativeProblem, own: NDArray[Any], place: slice) -> Found:
    """Along the signs of the gradient, so that nothing cancels; another direction where one meets a kink."""
    rng = np.random.default_rng(0)
    for _ in range(ATTEMPTS):
        sizes = np.abs(rng.normal(size=own.size))
        part = np.where(own.ravel() < 0.0, -sizes, sizes) / np.linalg.norm(sizes)
        direction = np.zeros_like(problem.flat)
        direction[place] = part
        slope = _slope(problem, direction, quick=True)
        if slope is not None:
            expected = float(part @ own.ravel().astype(np.float64))
            return None, expected, slope, abs(slope - expected) / _scale(np.array(expected)), 0
    return None, NOTHING, NOTHING, NOTHING, 1


def _slope(problem: DerivativeProblem, direction: NDArray[Any], *, quick: bool) -> float | None:
    if quick:
        return problem.central_difference(direction, first_step=FIRST_STEP, levels=LEVELS)
    return problem.central_difference(direction)


def _scale(values: NDArray[Any]) -> float:
    """The largest, or 1 where all are 0."""
    return float(np.max(np.abs(values))) or 1.0
