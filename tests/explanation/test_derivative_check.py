"""The check against finite differences agrees where gradients are right, and differs where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.explanation.derivative_check import MOST_SINGLE, check_derivatives
from gpu_mlp.explanation.explain import explain
from gpu_mlp.explanation.passes import run_passes
from gpu_mlp.explanation.story import check_lines
from tests.explanation.examples import explained, network_of, problems, textbook


@pytest.mark.parametrize("number", range(30))
def test_every_gradient_agrees(number: int) -> None:
    found = explained(problems(30)[number])
    assert len(found.checks) == 2 * (len(found.network.layer_sizes) - 1)
    for check in found.checks:
        assert check.passed, check
        if check.numeric is not None:
            assert check.measured in check.numeric
            assert check.own == pytest.approx(check.measured, rel=1e-5, abs=1e-7)


def test_of_a_small_network_every_single_derivative_is_shown() -> None:
    found = textbook()
    document = found.document()
    for key, check in document["check"].items():
        numeric = np.array(check["numeric"])
        assert list(numeric.shape) == document["quantities"][key]["shape"]
        np.testing.assert_allclose(numeric, document["quantities"][key]["values"], atol=1e-8)


@pytest.mark.parametrize("width", [3, 100, 500])
def test_a_wrong_gradient_is_seen(width: int) -> None:
    """One number of one array, both where all are taken one by one and along a direction."""
    network = gpu_mlp.Network((2, width, 2), activation="tanh", dtype="float64", device="cpu")
    assert (network.parameter_count <= MOST_SINGLE) == (width < 500)
    loss = gpu_mlp.Loss("squared_error")
    passes = run_passes(network, np.ones((3, 2)), np.zeros((3, 2)), loss)
    wrong = [passes.dl_domega[0].copy(), passes.dl_domega[1]]
    wrong[0][1, 1] += 0.1 * np.max(np.abs(wrong[0]))
    checks = check_derivatives(replace(passes, dl_domega=wrong))
    assert [check.key for check in checks if not check.passed] == ["dl_domega_0"]
    found = replace(explain(network, np.ones((3, 2)), np.zeros((3, 2))), checks=tuple(checks))
    assert check_lines(found)[1][1][-1] == "DIFFERS"


def test_what_lies_on_a_kink_is_left_out_and_counted() -> None:
    """Without biases and with an input of zeros every unit is at relu's kink."""
    network = gpu_mlp.Network((2, 3, 2), dtype="float64", device="cpu")
    found = explain(network, [0.0, 0.0], [1.0, 2.0])
    of_biases = next(check for check in found.checks if check.key == "dl_dbeta_0")
    assert of_biases.at_kinks == 3
    assert np.isnan(of_biases.difference)
    assert of_biases.passed is None
    _, rows = check_lines(found)
    assert ["dL/dβ₀", "", "", "", "1e-06", "not checked, 3 at a kink left out"] in rows
    document = found.document()["check"]["dl_dbeta_0"]
    assert document["numeric"] == [[None]] * 3
    assert (document["passed"], document["difference"]) == (None, None)


def test_a_loss_that_is_reported_with_a_factor_is_differentiated_without_it() -> None:
    """As the estimators of several outputs have it."""
    network = gpu_mlp.Network((2, 3, 2), activation="tanh", dtype="float64", device="cpu")
    loss = gpu_mlp.Loss("squared_error", factor=0.5, reported=0.5)
    found = explain(network, np.ones((3, 2)), np.zeros((3, 2)), loss=loss)
    assert all(check.passed for check in found.checks)
    output = found.walk.quantities["f_1"].values
    assert found.walk.quantities["loss"].values[0, 0] == pytest.approx(0.5 * np.square(output).sum() / 3)


def test_float32_is_held_to_its_own_digits() -> None:
    problem = problems(3)[1]
    found = explain(network_of(problem, "float32"), problem.x, problem.y, loss=problem.loss)
    assert all(check.passed and check.tolerance == 1e-3 for check in found.checks)
