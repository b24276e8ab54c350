"""Every equation that is shown holds for the numbers that are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES
from gpu_mlp.config import Loss
from gpu_mlp.explanation.explain import Explanation
from gpu_mlp.explanation.expressions import Applied, Equation, Symbol
from gpu_mlp.explanation.formulas import activation_formula, loss_formula
from gpu_mlp.explanation.passes import run_passes
from tests.explanation.evaluation import evaluate
from tests.explanation.examples import explained, problems, textbook
from tests.explanation.test_explain import SLOPES, softmax
from tests.network.random_networks import Problem, random_targets

F = np.array([-7.0, -1.5, -0.25, -1e-3, 0.0, 1e-3, 0.5, 2.0, 9.0])


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_an_activations_formulas_are_the_packages(name: str) -> None:
    formula = activation_formula(name)
    network = gpu_mlp.Network((1, 1, 1), activation=name, dtype="float64", device="cpu")
    network.weights = [np.ones((1, 1)), np.ones((1, 1))]
    passes = run_passes(network, F[:, np.newaxis], np.zeros((len(F), 1)), Loss("squared_error"))
    applied = Applied(Symbol("a"), Symbol("f"), elementwise=True)
    value = evaluate(formula.value, {"f": F})
    slope = evaluate(formula.slope(applied), {"f": F}, a=lambda f: value)
    # The square root of 2 / pi has six digits in an equation.
    np.testing.assert_allclose(value + 0 * F, passes.h[1][:, 0], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(slope + 0 * F, passes.slopes[0][:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(passes.h[1][:, 0], SLOPES[name][0](F), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("quantile", [0.5, 0.2])
@pytest.mark.parametrize("delta", [1.0, 0.7])
@pytest.mark.parametrize("name", LOSS_NAMES)
def test_a_losss_formulas_are_the_packages(name: str, delta: float, quantile: float) -> None:
    """Also where the error is 0, which is the last output of the first sample."""
    loss = Loss(name, huber_delta=delta, quantile=quantile)
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(6, 3)), random_targets(rng, name, 6, 3)
    if y.ndim == 1:
        y = np.eye(3)[y]
    if name not in ("softmax_cross_entropy", "binary_cross_entropy", "poisson"):
        f[0, 2] = y[0, 2]
    arguments: dict[str, Any] = dict(loss.parameters)
    value, gradient = getattr(gpu_mlp.losses, name)(f, y, **arguments)
    formula = loss_formula(loss, Symbol("f"), Symbol("y"), Symbol("p"))
    p = {"poisson": np.exp(f), "softmax_cross_entropy": softmax(f)}.get(name, 1 / (1 + np.exp(-f)))
    samples = [
        evaluate(formula.value, {"f_o": f[b], "y_o": y[b], "p_o": p[b], "f": f[b], "y": y[b]})
        for b in range(6)
    ]
    assert np.mean(samples) == pytest.approx(float(value), rel=1e-12)
    found = evaluate(formula.gradient, {"f": f, "y": y, "p": p}) / 6
    np.testing.assert_allclose(found, gradient, rtol=1e-12, atol=1e-15)


def in_few_digits(problem: Problem) -> Problem:
    """Its loss's parameters, of which an equation shows six."""
    loss = problem.loss
    rounded = Loss(
        loss.name, round(loss.huber_delta, 2), round(loss.quantile, 2), round(loss.label_smoothing, 2)
    )
    return replace(problem, loss=rounded)


def check_equations(found: Explanation) -> None:
    walk = found.walk
    axis = walk.notation.sample_axis
    values = {key: quantity.values for key, quantity in walk.quantities.items()}
    names = found.network.activations
    mixed = len(set(names)) > 1
    functions = {f"a{k + 1}" if mixed else "a": SLOPES[name][0] for k, name in enumerate(names)}
    links = {"softmax": lambda f: softmax(f if axis == 0 else f.T) if axis == 0 else softmax(f.T).T}
    for step in walk.steps:
        left, right = step.equation.sides
        if step.result == "loss":
            continue
        result = evaluate(right, values, sample_axis=axis, **functions, **links)
        expected = walk.quantities[step.result].values
        scale = max(1.0, float(np.max(np.abs(expected))))
        np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11 * scale, err_msg=step.title)
        assert evaluate(left, values) is values[step.result]
    check_loss(found, values)
    if walk.chain is not None and len(names) <= 5:
        scale = max(1.0, float(np.max(np.abs(values["dl_df_0"]))))
        chain = evaluate(walk.chain.sides[1], values, sample_axis=axis)
        np.testing.assert_allclose(chain, values["dl_df_0"], rtol=1e-11, atol=1e-11 * scale)


def check_loss(found: Explanation, values: dict[str, Any]) -> None:
    """By its rule for every sample, and then their mean."""
    (step,) = (step for step in found.walk.steps if step.result == "loss")
    notation = found.walk.notation
    last = len(found.network.activations)
    rows = {
        name: values[key] if not notation.columns else values[key].T
        for name, key in (("f", f"f_{last}"), ("y", "y"), ("p", "p"))
        if key in values
    }
    equation = step.rule if step.rule is not None else step.equation
    assert isinstance(equation, Equation)
    each = [
        evaluate(
            equation.sides[1],
            {
                **{name: row[b] for name, row in rows.items()},
                **{f"{name}_o": row[b] for name, row in rows.items()},
            },
        )
        for b in range(notation.batch)
    ]
    value = each[0]
    if step.rule is not None:
        value = evaluate(step.equation.sides[1], {"ell_b": np.array(each)[np.newaxis]}, sample_axis=1)
    np.testing.assert_allclose(np.ravel(value)[0], values["loss"][0, 0], rtol=1e-11)


@pytest.mark.parametrize("notation", ["columns", "rows"])
def test_every_equation_gives_its_result(notation: str) -> None:
    for problem in problems(30):
        check_equations(explained(in_few_digits(problem), notation))
    check_equations(textbook(notation=notation))
    check_equations(textbook(notation=notation, batch=4))


def test_a_wrong_equation_would_be_seen() -> None:
    """The negative control: the same equations for numbers of which one is another."""
    found = textbook(batch=3)
    values = found.walk.quantities["f_2"].values
    values[1, 1] += 0.5
    try:
        with pytest.raises(AssertionError, match="Into hidden layer 3"):
            check_equations(found)
    finally:
        values[1, 1] -= 0.5
