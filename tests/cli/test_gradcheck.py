"""`gpu-mlp gradcheck`: it passes for every formula of the package, and fails for a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from tests.cli.commands import done, run

LOSSES = ("squared_error", "huber", "softmax_cross_entropy")


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_activation_passes(activation: str, loss: str) -> None:
    outcome = done("gradcheck", "--activation", activation, "--loss", loss)
    assert f"Network 2-4-7-3-2, {activation}, 79 parameters, float64 on cpu" in outcome.out
    assert "\npassed: largest relative error " in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("method", ["complex_step", "central_difference"])
def test_every_loss_passes_by_both_methods(loss: str, method: str) -> None:
    outcome = done("gradcheck", "--loss", loss, "--method", method, "--json")
    document = outcome.document
    assert (document["loss"], document["method"], document["passed"]) == (loss, method, True)
    errors = [part[name] for part in document["layers"] for name in ("weights", "biases")]
    largest = max([document["all_parameters"], *errors])
    assert document["max_relative_error"] == largest < document["tolerance"]
    assert document["tolerance"] == (1e-10 if method == "complex_step" else 1e-6)


def test_an_architecture_and_its_settings_can_be_given() -> None:
    flags = ("--activation", "tanh, gelu", "--batch", "5", "--seed", "3", "--directions", "2")
    document = done("gradcheck", "3-5-4-1", *flags, "--json").document
    assert (document["rows"], document["directions"], len(document["layers"])) == (5, 2, 3)
    outcome = done("gradcheck", "7-2", "--dtype", "float32")
    assert "Network 7-2, linear, 16 parameters, float32 on cpu" in outcome.out
    assert "tolerance 1e-03" in outcome.out


def test_the_report_shows_a_line_for_every_layer() -> None:
    lines = done("gradcheck").out.splitlines()
    assert lines[0].startswith("network  Network 2-4-7-3-2, relu")
    start = lines.index("layer k  dL/dOmega_k  dL/dbeta_k")
    assert [line.split()[0] for line in lines[start + 1 : start + 5]] == ["0", "1", "2", "3"]


def doubled_bias_gradient(ops: Ops) -> Ops:
    def backward(dl_df: Any, h: Any, omega: Any, dl_domega: Any, dl_dbeta: Any, *rest: Any) -> None:
        ops.layer_backward(dl_df, h, omega, dl_domega, dl_dbeta, *rest)
        dl_dbeta *= 2

    return replace(ops, layer_backward=backward)


def loss_gradient_of_a_sum(ops: Ops) -> Ops:
    def squared_error(
        f: Any, y: Any, share: Any, loss: Any, dl_df: Any, scratch: Any, **parameters: float
    ) -> None:
        ops.squared_error(f, y, share, loss, dl_df, scratch, **parameters)
        dl_df /= share[:, None]

    return replace(ops, squared_error=squared_error)


def slope_a_thousandth_off(ops: Ops) -> Ops:
    def backward(*arguments: Any) -> None:
        ops.layer_backward(*arguments)
        if arguments[-1] is not None:
            arguments[-1].dl_df *= 1.001

    return replace(ops, layer_backward=backward)


@pytest.mark.parametrize("wrong", [doubled_bias_gradient, loss_gradient_of_a_sum, slope_a_thousandth_off])
@pytest.mark.parametrize("method", ["complex_step", "central_difference"])
def test_a_wrong_formula_is_found(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Ops], Ops], method: str
) -> None:
    broken = wrong(numpy_ops())
    monkeypatch.setattr("gpu_mlp.backends.numpy_backend.numpy_ops", lambda: broken)
    outcome = run("gradcheck", "--activation", "tanh", "--method", method)
    assert outcome.code == 1
    assert "\nFAILED: largest relative error " in outcome.out
    assert outcome.err.startswith("gpu-mlp: the gradients differ by ")
    assert "look for a wrong formula in the backward pass" in outcome.err
    assert outcome.err.count("\n") == 1
    outcome = run("gradcheck", "--activation", "tanh", "--method", method, "--json")
    assert outcome.code == 1
    assert outcome.document["passed"] is False
    assert outcome.document["max_relative_error"] > outcome.document["tolerance"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("3",), ("the layer sizes are '3'", "two or more", "2-4-7-3-2")),
        (("3-x-2",), ("the layer sizes are '3-x-2'",)),
        (("3-0-2",), ("the layer sizes are '3-0-2'", "positive")),
        (("--activation", "rleu"), ("activation 'rleu' is unknown", "did you mean 'relu'?")),
        (("--activation", "relu,tanh"), ("activation names 2 layers", "3 hidden layers")),
        (("--loss", "huberr"), ("loss 'huberr' is unknown", "did you mean 'huber'?")),
        (("--method", "guess"), ("method 'guess' is unknown", "complex_step")),
        (("--dtype", "float16"), ("dtype 'float16' is unknown",)),
        (("--batch", "0"), ("batch is 0", "at least 1")),
        (("--batch", "2.5"), ("--batch is '2.5'", "a whole number")),
        (("--directions", "0"), ("directions is 0", "at least 1")),
        (("--seed", "-1"), ("seed is -1", "at least 0")),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    outcome = run("gradcheck", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("gpu-mlp: ")
    assert all(part in outcome.err for part in parts), outcome.err
