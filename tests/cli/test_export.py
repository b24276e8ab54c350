"""`gpu-mlp export`: what it writes is what `predict` says, and what cannot be written is refused first."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import gpu_mlp
from gpu_mlp.data import read_table
from tests.cli.commands import Trained, done, run


def test_the_graph_says_what_predict_says(buyers: Trained) -> None:
    outcome = done("export", buyers.model, "buyers.onnx")
    assert (outcome.out, outcome.err) == ("", "model written to buyers.onnx\n")
    model = gpu_mlp.load(buyers.model, "cpu")
    assert model.preparation is not None
    table = read_table(buyers.table, as_text=model.preparation.text_names)
    fed = {}
    for name in model.preparation.input_names:
        column = table.columns[name]
        if name in model.preparation.text_names:
            column = np.array(["" if value is None else value for value in column], object)
        fed[name] = column.reshape(-1, 1)
    session = onnxruntime.InferenceSession("buyers.onnx", providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], fed)
    predicted = done("predict", buyers.model, buyers.table).out.splitlines()[1:]
    assert label.tolist() == predicted
    np.testing.assert_allclose(probabilities, model.predict_proba(table), atol=1e-5)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("m.pt", "OUT m.pt ends in '.pt', but must end in .onnx"),
        (
            "none/m.onnx",
            "OUT none/m.onnx is in a folder that does not exist; make it, or choose another name",
        ),
        ("folder.onnx", "OUT folder.onnx is a folder; give the name of a file in it"),
        ("there.onnx", "OUT there.onnx already exists; choose another name, or add --overwrite"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(out: str, message: str) -> None:
    Path("folder.onnx").mkdir()
    Path("there.onnx").write_text("mine")
    outcome = run("export", "no-model", out)
    assert (outcome.code, outcome.err) == (2, f"gpu-mlp: {message}\n")
    assert Path("there.onnx").read_text() == "mine"


def test_a_file_is_replaced_where_asked(buyers: Trained) -> None:
    Path("there.onnx").write_text("mine")
    done("export", buyers.model, "there.onnx", "--overwrite")
    assert Path("there.onnx").stat().st_size > 1000


def test_without_the_package_it_says_what_to_install(
    buyers: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    outcome = run("export", buyers.model, "m.onnx")
    assert outcome.code == 2
    assert outcome.err.endswith("install it with pip install 'gpu_mlp[onnx]'\n")
    assert not Path("m.onnx").exists()


def test_a_missing_model_is_refused() -> None:
    outcome = run("export", "none.safetensors", "m.onnx")
    assert (outcome.code, outcome.err) == (2, "gpu-mlp: none.safetensors does not exist; check the path\n")
