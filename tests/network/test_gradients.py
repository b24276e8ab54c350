"""Every activation x every loss: gradients of 840 random networks by the complex step and by differences.

The complex step (Squire and Trapp, 1998) takes dL/dp along a direction v as Im L(p + i h v) / h, h = 1e-30:
nothing is subtracted, so it is exact to rounding, for kinked functions too, away from their kinks. It needs
the forward primitives alone, so it is independent of every backward formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, Array
from tests.network.random_networks import (
    KINKED_ACTIVATIONS,
    KINKED_LOSSES,
    Evaluation,
    Problem,
    evaluate,
    every_pair,
    random_problem,
)

NETWORKS_PER_PAIR = 12
COMPLEX_STEP_TOLERANCE = 1e-12
DIFFERENCE_TOLERANCE = 1e-7


def direction_along(rng: np.random.Generator, gradient: Array) -> Array:
    """A random direction of unit norm with the gradient's signs.

    The derivative along it is a sum of positive terms, so that its relative error means something: along any
    other direction cancellation can make the derivative itself small.
    """
    signs = np.where(gradient == 0.0, rng.choice([-1.0, 1.0], gradient.shape), np.sign(gradient))
    direction = signs * np.abs(rng.normal(size=gradient.shape))
    return direction / np.linalg.norm(direction)


def relative_error(measured: float, expected: float) -> float:
    """|a - b| / max(|a|, |b|), 0 where both vanish."""
    return abs(measured - expected) / max(abs(measured), abs(expected), 1e-300)


def complex_step_error(rng: np.random.Generator, problem: Problem, flat_gradient: Array) -> float:
    """How far the gradient is from the complex step's derivative in a random direction."""
    direction = direction_along(rng, flat_gradient)
    moved = evaluate(problem, problem.flat + 1e-30j * direction, gradient=False)
    return relative_error(moved.loss.imag / 1e-30, float(flat_gradient @ direction))


def regimes(problem: Problem, evaluation: Evaluation) -> Array:
    """On which side of its kinks every kinked activation and loss was."""
    kinked = [
        f > 0
        for f, name in zip(evaluation.trace.f, problem.activations, strict=False)
        if name in KINKED_ACTIVATIONS
    ]
    if problem.loss.name in KINKED_LOSSES:
        error = evaluation.trace.output - problem.y
        kinked += [error > 0, np.abs(error) > problem.loss.huber_delta]
    return np.concatenate([array.ravel() for array in kinked]) if kinked else np.zeros(0, bool)


def difference_error(rng: np.random.Generator, problem: Problem, flat_gradient: Array) -> float:
    """How far from Richardson's extrapolation of central differences; NaN where one steps over a kink."""
    direction = direction_along(rng, flat_gradient)
    here = regimes(problem, evaluate(problem, gradient=False))

    def difference(h: float) -> float:
        above = evaluate(problem, problem.flat + h * direction, gradient=False)
        below = evaluate(problem, problem.flat - h * direction, gradient=False)
        if not all(np.array_equal(here, regimes(problem, evaluation)) for evaluation in (above, below)):
            return float("nan")
        return float((above.loss - below.loss) / (2 * h))

    h = 2e-4
    return relative_error((4 * difference(h / 2) - difference(h)) / 3, float(flat_gradient @ direction))


def problems_of(activation: str, loss: str) -> list[Problem]:
    """The same networks in every run."""
    rng = np.random.default_rng([ord(letter) for letter in activation + loss])
    return [random_problem(rng, activation, loss) for _ in range(NETWORKS_PER_PAIR)]


def test_the_networks_are_of_every_kind() -> None:
    """At least 500, among them linear ones, deep ones, mixtures, weighted rows, labels and probabilities."""
    problems = [problem for pair in every_pair() for problem in problems_of(*pair)]
    assert len(problems) >= 500
    assert {len(problem.activations) for problem in problems} == {0, 1, 2, 3, 4, 5}
    assert any(len(set(problem.activations)) > 2 for problem in problems)
    assert any(
        problem.sample_weight is not None and (problem.sample_weight == 0).any() for problem in problems
    )
    softmax = [problem for problem in problems if problem.loss.name == "softmax_cross_entropy"]
    kinds = {(problem.y.ndim, problem.loss.label_smoothing > 0) for problem in softmax}
    assert kinds == {(1, False), (1, True), (2, False), (2, True)}
    assert {len(problem.x) for problem in problems} >= {1, 2, 31, 33, 127}
    assert {width for problem in problems for width in problem.sizes} >= {1, 2, 31, 33, 127, 129}


@pytest.mark.parametrize(("activation", "loss"), every_pair())
def test_gradients_agree_with_the_complex_step(activation: str, loss: str) -> None:
    rng = np.random.default_rng(1)
    for problem in problems_of(activation, loss):
        error = complex_step_error(rng, problem, evaluate(problem).flat_gradient)
        assert error < COMPLEX_STEP_TOLERANCE, (
            f"{error:.1e} for {problem.sizes} {problem.activations} {problem.loss}"
        )


@pytest.mark.parametrize(("activation", "loss"), every_pair())
def test_gradients_agree_with_central_differences(activation: str, loss: str) -> None:
    rng = np.random.default_rng(2)
    compared = 0
    for problem in problems_of(activation, loss):
        gradient = evaluate(problem).flat_gradient
        errors = (difference_error(rng, problem, gradient) for _ in range(20))
        # The first of up to 20 directions in which no unit crosses a kink.
        error = next((error for error in errors if not np.isnan(error)), None)
        if error is not None:
            compared += 1
            assert error < DIFFERENCE_TOLERANCE, (
                f"{error:.1e} for {problem.sizes} {problem.activations} {problem.loss}"
            )
    assert compared >= NETWORKS_PER_PAIR // 2


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_gradients_through_a_fixed_dropout_mask_agree_with_the_complex_step(activation: str) -> None:
    """The mask is a function of the counter, so the loss with dropout is a function like any other."""
    rng = np.random.default_rng(3)
    for loss in ("squared_error", "softmax_cross_entropy"):
        for _ in range(3):
            problem = random_problem(rng, activation, loss)
            problem = replace(problem, dropout=float(rng.uniform(0.1, 0.7)), seed=int(rng.integers(2**32)))
            assert complex_step_error(rng, problem, evaluate(problem).flat_gradient) < COMPLEX_STEP_TOLERANCE


def small_problem() -> Problem:
    """2-4-7-3-2, smooth, with a gradient in every parameter."""
    rng = np.random.default_rng(4)
    sizes = (2, 4, 7, 3, 2)
    return replace(
        random_problem(rng, "tanh", "squared_error"),
        sizes=sizes,
        activations=("tanh", "gelu", "silu"),
        x=rng.normal(size=(5, 2)),
        y=rng.normal(size=(5, 2)),
        sample_weight=None,
        weights=[rng.normal(size=shape) for shape in ((4, 2), (7, 4), (3, 7), (2, 3))],
        biases=[rng.normal(size=width) for width in sizes[1:]],
    )


def test_every_single_gradient_of_a_small_network_agrees_with_the_complex_step() -> None:
    problem = small_problem()
    gradient = evaluate(problem).flat_gradient
    steps = 1e-30j * np.eye(gradient.size)
    measured = [evaluate(problem, problem.flat + step, gradient=False).loss.imag / 1e-30 for step in steps]
    np.testing.assert_allclose(gradient, measured, rtol=1e-12, atol=1e-13)


def test_a_backward_pass_that_keeps_no_dl_dh_gives_the_same_bits() -> None:
    """Training shares one array among all dL/dh; what overlaps must not be read after it is overwritten."""
    rng = np.random.default_rng(5)
    for activation in ACTIVATION_NAMES:
        problem = random_problem(rng, activation, "squared_error")
        traced, shared = evaluate(problem), evaluate(problem, traced=False)
        np.testing.assert_array_equal(traced.flat_gradient, shared.flat_gradient)


@pytest.mark.parametrize(
    ("check", "tolerance"),
    [(complex_step_error, COMPLEX_STEP_TOLERANCE), (difference_error, DIFFERENCE_TOLERANCE)],
)
def test_a_gradient_that_is_wrong_in_one_place_fails_the_check(
    check: Callable[[np.random.Generator, Problem, Array], float], tolerance: float
) -> None:
    """The negative control: each kind of mistake a backward pass can have, in one entry of 78."""
    problem = small_problem()
    gradient = evaluate(problem).flat_gradient
    largest = int(np.argmax(np.abs(gradient)))
    for wrong in (0.0, -gradient[largest], 1.0001 * gradient[largest]):
        planted = gradient.copy()
        planted[largest] = wrong
        assert check(np.random.default_rng(6), problem, planted) > 10 * tolerance
