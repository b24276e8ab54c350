"""`check_gradients`: a network's own gradients against derivatives that need its forward pass alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.config import Loss, check_choice, check_range
from gpu_mlp.network.derivatives import DerivativeProblem
from gpu_mlp.network.network import Network

__all__ = ["GradientReport", "LayerCheck", "check_gradients", "slopes_along_signs"]

METHODS = ("auto", "complex_step", "central_difference")
# What rounding alone stays under by two orders of magnitude, and no mistake in a formula does.
TOLERANCES = {"complex_step": 1e-10, "central_difference": 1e-6}
FLOAT32_TOLERANCE = 1e-3
# Errors of a layer whose gradient is this much smaller than the whole are taken relative to this share of
# the whole.
SMALLEST_SHARE = 1e-4

ATTEMPTS = 8


@dataclass(frozen=True)
class LayerCheck:
    """The largest relative errors of dL/dOmega_k and of dL/dbeta_k over all directions."""

    layer: int
    weights: float
    biases: float


@dataclass(frozen=True)
class GradientReport:
    """What a check found.

    Attributes:
        method: "complex_step" or "central_difference".
        loss: the loss's name.
        dtype, device: of the network whose gradients were checked.
        all_parameters: the largest relative error along directions through all parameters together.
        layers: the same for each layer's weights and biases apart.
        tolerance: what `max_relative_error` is compared with.
        directions: random directions for each of these.
        rows, rows_at_kinks: rows checked, and rows left out because a unit or an error lay on a kink, where
            there is no derivative.
        directions_at_kinks: directions given up because every step of a difference crossed a kink.
    """

    method: str
    loss: str
    dtype: str
    device: str
    all_parameters: float
    layers: tuple[LayerCheck, ...]
    tolerance: float
    directions: int
    rows: int
    rows_at_kinks: int
    directions_at_kinks: int

    @property
    def max_relative_error(self) -> float:
        """The largest of all errors, NaN where one of them is."""
        errors = [error for layer in self.layers for error in (layer.weights, layer.biases)]
        return float(np.max([self.all_parameters, *errors]))

    @property
    def passed(self) -> bool:
        """Whether no error is beyond the tolerance; NaN is."""
        return self.max_relative_error <= self.tolerance


def check_gradients(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: str | Loss,
    sample_weight: Any = None,
    method: str = "auto",
    directions: int = 3,
    seed: int = 0,
    tolerance: float | None = None,
) -> GradientReport:
    """Compare the network's gradients of the mean loss with derivatives along random directions.

    x (B, D_0), y and sample_weight (B,) are what the loss takes. The network's own backward pass runs on
    its device and in its type. The derivatives come from a copy of its parameters on the CPU: along a unit
    direction v, "complex_step" takes Im L(p + i h v) / h with h = 1e-30 in complex128 (Squire and Trapp,
    1998), which subtracts nothing, and "central_difference" extrapolates (L(p + h v) - L(p - h v)) / 2h to
    h = 0 in float64 (Ridders, 1982). "auto" is the complex step. A direction follows the signs of the
    gradient it tests, so that no cancellation makes the derivative small and its relative error large.

    With a float32 network the error is float32's own rounding of the forward and backward pass, hence a
    tolerance of 1e-3 instead of 1e-10 (complex step) and 1e-6 (differences): it finds a wrong formula, not
    a lost digit.

    Raises ShapeError for arrays that do not fit, ConfigError for an unknown method or loss, and DataError
    where every row lies on a kink. The network is never changed.
    """
    check_choice("method", method, METHODS)
    check_range("directions", directions, low=1, whole=True)
    method = "complex_step" if method == "auto" else method
    if tolerance is None:
        tolerance = TOLERANCES[method] if network.dtype == "float64" else FLOAT32_TOLERANCE
    problem = DerivativeProblem.of(
        network, x, y, loss if isinstance(loss, Loss) else Loss(loss), sample_weight
    )
    smooth = problem.without_kinks()
    own = smooth.own_gradients()
    derivative = smooth.complex_step if method == "complex_step" else smooth.central_difference
    rng = np.random.default_rng(seed)
    given_up = 0

    def worst(mask: Array) -> float:
        nonlocal given_up
        errors = [_error(rng, derivative, own, mask) for _ in range(directions)]
        given_up += errors.count(None)
        return float(np.max([error for error in errors if error is not None] or [math.nan]))

    layers = [LayerCheck(k, worst(weights), worst(biases)) for k, weights, biases in smooth.masks()]
    return GradientReport(
        method=method,
        loss=smooth.loss.name,
        dtype=network.dtype,
        device=network.device,
        all_parameters=worst(np.ones(own.shape, bool)),
        layers=tuple(layers),
        tolerance=tolerance,
        directions=directions,
        rows=len(smooth.x),
        rows_at_kinks=len(problem.x) - len(smooth.x),
        directions_at_kinks=given_up,
    )


def slopes_along_signs(
    rng: np.random.Generator, derivative: Callable[[Array], float | None], own: Array, mask: Array
) -> tuple[float, float] | None:
    """The derivative along a random direction and what the gradient `own` (P,) says of it; None where all meet a kink.

    The direction has the gradient's signs, so that nothing cancels, and is 0 where `mask` (P,) is not set.
    """
    for _ in range(ATTEMPTS):
        sizes = np.abs(rng.normal(size=own.shape)) * mask
        signs = np.where(own == 0.0, rng.choice([-1.0, 1.0], own.shape), np.sign(own))
        direction = signs * sizes / np.linalg.norm(sizes)
        measured = derivative(direction)
        if measured is not None:
            return measured, float(own @ direction)
    return None


def _error(
    rng: np.random.Generator, derivative: Callable[[Array], float | None], own: Array, mask: Array
) -> float | None:
    """The relative error along one random direction, or None where none was found that crosses no kink."""
    found = slopes_along_signs(rng, derivative, own, mask)
    if found is None:
        return None
    measured, expected = found
    largest = max(abs(measured), abs(expected), SMALLEST_SHARE * float(np.linalg.norm(own)))
    return abs(measured - expected) / largest if largest != 0.0 else 0.0
