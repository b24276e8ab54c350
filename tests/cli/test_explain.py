"""`gpu-mlp explain`: the same story in four formats, of any architecture or of a model's own columns."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.data import read_table
from gpu_mlp.explanation.explain import explain as explain_network
from tests.cli.commands import Trained, done, everything_in, run
from tests.cli.tables import people

explain_command = import_module("gpu_mlp.cli.explain")


def document(*arguments: object) -> dict[str, Any]:
    return done("explain", *arguments, "--format", "json").document


def values(found: dict[str, Any], key: str) -> list[list[float]]:
    rows: list[list[float]] = found["quantities"][key]["values"]
    return rows


def test_without_anything_it_is_the_notes_network_in_the_terminal() -> None:
    outcome = done("explain")
    assert outcome.out.startswith(
        "One step of back-propagation in the network 2-4-7-3-2 (relu; 79 parameters)"
    )
    assert outcome.out == done("explain", "2-4-7-3-2", "--format", "terminal", "--seed", "0").out
    assert outcome.out != done("explain", "--seed", "1").out
    assert outcome.err == ""


def test_input_and_target_are_those_given() -> None:
    found = document("2-3-2", "--input", "0.5,-1.2", "--target", "1")
    assert values(found, "h_0") == [[0.5], [-1.2]]
    assert values(found, "y") == [[0.0], [1.0]]
    assert found["loss"]["name"] == "softmax_cross_entropy"
    assert values(document("2-3-2", "--input", "-0.5,1.2"), "h_0") == [[-0.5], [1.2]]
    found = document("2-3-2", "--input", "0.5,-1.2; 1,2", "--target", "0.1,0.2;3,4", "--notation", "rows")
    assert values(found, "h_0") == [[0.5, -1.2], [1.0, 2.0]]
    assert values(found, "y") == [[0.1, 0.2], [3.0, 4.0]]
    assert found["loss"]["name"] == "squared_error"
    assert document("2-3-1", "--target", "-2.5")["loss"]["name"] == "squared_error"


def test_settings_reach_the_network() -> None:
    found = document("3-4-5-2", "--activation", "tanh,gelu", "--loss", "huber", "--batch", "6", "--seed", "3")
    assert found["network"]["activations"] == ["tanh", "gelu"]
    assert (found["loss"]["name"], found["batch"]) == ("huber", 6)
    assert len(values(found, "h_0")) == 3


@pytest.mark.parametrize(
    ("name", "start"),
    [("e.html", "<!doctype html>"), ("e.tex", "\\documentclass"), ("e.json", "{"), ("e.txt", "One step")],
)
def test_the_ending_of_the_file_says_the_format(name: str, start: str) -> None:
    outcome = done("explain", "--out", name)
    assert outcome.out == ""
    assert outcome.err == f"written to {name}\n"
    text = Path(name).read_text(encoding="utf-8")
    assert text.startswith(start)
    fmt = {"html": "html", "tex": "latex", "json": "json", "txt": "terminal"}[name.partition(".")[2]]
    assert done("explain", "--format", fmt).out == text


def test_a_models_raw_values_are_prepared_as_for_predict(buyers: Trained) -> None:
    model = gpu_mlp.load(buyers.model, "cpu")
    assert model.preparation is not None
    found = document("--model", buyers.model, "--input", "72,green,false;,red,true", "--target", "yes;no")
    columns = {"age": [72.0, None], "colour": ["green", "red"], "member": [False, True]}
    expected = model.preparation.transform(read_table(columns), "float32")
    np.testing.assert_array_equal(np.array(values(found, "h_0")).T, expected)
    classes = model.classes
    assert np.array(values(found, "y")).T.argmax(axis=1).tolist() == [
        classes.index("yes"),
        classes.index("no"),
    ]
    outputs = np.array(values(found, "f_1")).T
    np.testing.assert_allclose(outputs, model.outputs(read_table(columns)), rtol=1e-5, atol=1e-6)
    assert found["loss"]["name"] == model.loss.name


def test_a_regressions_target_is_in_its_own_units(spenders: Trained) -> None:
    model = gpu_mlp.load(spenders.model, "cpu")
    assert model.target is not None
    age, colour, member, _, spends = people()[0][1:]
    found = document(
        "--model", spenders.model, "--input", f"{age},{colour},{str(member).lower()}", "--target", spends
    )
    (value,) = values(found, "y")[0]
    assert value == pytest.approx((float(spends) - model.target.mean) / model.target.scale, rel=1e-6)


def test_another_loss_of_the_same_kind_takes_the_target_in_the_same_units(spenders: Trained) -> None:
    flags = ("--model", spenders.model, "--target", "120")
    assert values(document(*flags, "--loss", "huber"), "y") == values(document(*flags), "y")


def test_a_wrong_gradient_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(*arguments: Any, **settings: Any) -> Any:
        found = explain_network(*arguments, **settings)
        return replace(found, checks=(replace(found.checks[0], difference=1.0), *found.checks[1:]))

    monkeypatch.setattr(explain_command, "explain_network", differ)
    outcome = run("explain", "2-3-2")
    assert outcome.code == 1
    assert "DIFFERS" in outcome.out
    assert outcome.err.startswith("gpu-mlp: dl_domega_0 differ from finite differences")


def test_a_model_without_input_gets_random_samples(digits: Trained) -> None:
    found = document("--model", digits.model, "--batch", "3")
    assert found["network"]["layer_sizes"][0] == 64
    assert found["quantities"]["h_0"]["shape"] == [64, 3]
    assert found["network"]["dtype"] == "float32"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("2-4-x",),
            "the layer sizes are '2-4-x', but must be two or more positive numbers such as 2-4-7-3-2",
        ),
        (("2",), "the layer sizes are '2', but must be two or more"),
        (("2-3-2", "--input", "1,2,3"), "--input has 3 numbers a sample, but the network has 2 inputs"),
        (("2-3-2", "--input", "1,2;3"), "--input has samples of 1 and of 2 numbers"),
        (("2-3-2", "--input", "1,two"), "--input has 'two', but must be numbers with commas between"),
        (("2-3-2", "--input", "1,nan"), "--input has 'nan'"),
        (("2-3-2", "--input", "1,1_0"), "--input has '1_0'"),
        (
            ("999999-999999-2",),
            "the network would have 1,000,001,000,000 parameters, but a walkthrough has room for",
        ),
        (("2-3-2", "--target", "2"), "--target has the class 2, but the network's 2 classes are 0 to 1"),
        (("2-3-2", "--target", "-1"), "--target has the class -1"),
        (("2-3-2", "--target", "0.5"), "--target has the class 0.5"),
        (("2-3-3", "--target", "1,2"), "--target has 2 numbers a sample, but the network has 3 outputs"),
        (("2-3-2", "--target", "1;0"), "--target has 2 targets for 1 sample"),
        (("2-3-1", "--loss", "poisson", "--target", "-3"), "poisson takes counts of at least 0"),
        (("2-3-2", "--input", "1,2", "--batch", "4"), "--batch draws random samples, but --input gives some"),
        (("--batch", "0"), "batch is 0, but must be a whole number, at least 1"),
        (("--loss", "squares"), "loss 'squares' is unknown"),
        (("--activation", "rely"), "activation 'rely' is unknown; did you mean 'relu'?"),
        (("--notation", "row"), "notation 'row' is unknown"),
        (("--format", "pdf"), "format 'pdf' is unknown"),
        (("--out", "e.pdf"), "--out e.pdf ends in '.pdf', but must end in .txt or .html or .tex or .json"),
        (("--out", "e.html", "--format", "latex"), "--out e.html ends in '.html', but must end in .tex"),
        (("--out", "nowhere/e.html"), "is in a folder that does not exist"),
        (("--model", "nothing.safetensors"), "nothing.safetensors does not exist"),
        (("2-3-2", "--model", "nothing.safetensors"), "'2-3-2' and --model both name a network"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    outcome = run("explain", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("gpu-mlp: ")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1
    assert everything_in(Path()) == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--input", "72,green"),
            "--input has 2 values a sample, but the model has 3 columns; give one for each of age,",
        ),
        (("--input", "old,green,true"), "--input, row 1, column 'age' holds 'old', but training had numbers"),
        (
            ("--input", "72,green,true", "--target", "maybe"),
            "--target, row 1, column 'buys' holds the label 'maybe'",
        ),
        (("--target", "yes;no"), "--target has 2 targets for 1 sample"),
        (("--activation", "tanh"), "--activation is 'tanh', but a model has its own"),
    ],
)
def test_what_a_model_does_not_know_is_one_sentence(
    buyers: Trained, arguments: tuple[str, ...], sentence: str
) -> None:
    outcome = run("explain", "--model", buyers.model, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_broken_model_file_is_one_sentence() -> None:
    Path("m.safetensors").write_bytes(b"no model at all, but long enough to be read as one")
    outcome = run("explain", "--model", "m.safetensors")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def test_a_file_that_exists_is_replaced_only_when_asked() -> None:
    Path("e.json").write_text("mine")
    outcome = run("explain", "--out", "e.json")
    assert outcome.code == 2
    assert "already exists" in outcome.err
    assert Path("e.json").read_text() == "mine"
    done("explain", "--out", "e.json", "--overwrite")
    assert json.loads(Path("e.json").read_text())["schema"] == 1
