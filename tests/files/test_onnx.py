"""Exported models on ONNX Runtime, fed with raw columns, against `Model.predict` and `predict_proba`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import gpu_mlp
from gpu_mlp.backends.base import ACTIVATION_NAMES
from gpu_mlp.config import Loss, TrainingConfig
from gpu_mlp.errors import ConfigError, ModelFileError
from gpu_mlp.files.onnx import encode_onnx, export_onnx
from gpu_mlp.fitting import fit_table
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network
from tests.data.refusals import refused
from tests.files.models import KINDS

RNG = np.random.default_rng(0)
ROWS = 60


def mixed(target: list[Any]) -> dict[str, Any]:
    """Numbers and text with gaps, truth values and whole numbers."""
    ages: list[Any] = [float(value) for value in RNG.normal(40, 12, ROWS)]
    colours: list[Any] = [str(value) for value in RNG.choice(["red", "blue", "größe"], ROWS)]
    for row in (3, 17, 40):
        ages[row] = colours[row + 1] = None
    return {
        "age in years": ages,
        "colour": colours,
        "shape": [str(value) for value in RNG.choice(["round", "square"], ROWS)],
        "member": [bool(value) for value in RNG.integers(0, 2, ROWS)],
        "visits": [int(value) for value in RNG.integers(0, 9, ROWS)],
        "y": target,
    }


def columns_of(model: Model, table: dict[str, Any]) -> dict[str, Any]:
    """What the session is fed with: (N, 1) of float64 or text."""
    assert model.preparation is not None
    fed = {}
    for name in model.preparation.input_names:
        if name in model.preparation.text_names:
            column = np.array(["" if value is None else value for value in table[name]], object)
        else:
            column = np.array([np.nan if value is None else float(value) for value in table[name]])
        fed[name] = column.reshape(-1, 1)
    return fed


def session(model: Model) -> Any:
    return onnxruntime.InferenceSession(encode_onnx(model), providers=["CPUExecutionProvider"])


def fitted(target: list[Any], **settings: Any) -> tuple[Model, dict[str, Any]]:
    table = mixed(target)
    config = TrainingConfig(epochs=4, batch_size=16, **settings)
    return fit_table(table, "y", hidden_layer_sizes=(8,), config=config, device="cpu").model, table


LABELS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "text": ([["no", "yes", "größer"][n % 3] for n in range(ROWS)], {}),
    "two texts": ([["no", "yes"][n % 2] for n in range(ROWS)], {}),
    "one logit": ([["no", "yes"][n % 2] for n in range(ROWS)], {"loss": "binary_cross_entropy"}),
    "truth values": ([n % 2 == 0 for n in range(ROWS)], {"loss": "binary_cross_entropy"}),
    "whole numbers": ([[3, -1, 7][n % 3] for n in range(ROWS)], {}),
}


@pytest.mark.parametrize("case", LABELS)
def test_classes_of_raw_columns(case: str) -> None:
    target, settings = LABELS[case]
    model, table = fitted(target, **settings)
    label, probabilities = session(model).run(["label", "probabilities"], columns_of(model, table))
    np.testing.assert_allclose(probabilities, model.predict_proba(table), atol=1e-5)
    assert label.tolist() == model.predict(table).tolist()
    assert type(label.tolist()[0]) is type(target[0])


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error", "quantile", "poisson"])
def test_values_of_raw_columns_in_their_own_units(loss: str) -> None:
    target = [
        float(value) for value in (RNG.poisson(30, ROWS) if loss == "poisson" else RNG.normal(5e4, 300, ROWS))
    ]
    model, table = fitted(target, loss=loss)
    (value,) = session(model).run(["value"], columns_of(model, table))
    np.testing.assert_allclose(value, model.predict(table), rtol=1e-5)
    assert value.shape == (ROWS,)


def test_what_training_did_not_have_is_what_predict_makes_of_it() -> None:
    model, table = fitted(LABELS["text"][0])
    other = {name: values[:2] for name, values in table.items() if name != "y"}
    other["shape"], other["age in years"] = ["oval", None], [None, 1e6]
    _, probabilities = session(model).run(None, columns_of(model, other))
    np.testing.assert_allclose(probabilities, model.predict_proba(other), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_every_activation(activation: str, dtype: Any) -> None:
    network = Network((5, 9, 8, 3), activation=activation, dtype=dtype, device="cpu", seed=1)
    x = RNG.normal(size=(33, 5)) * 3
    model = Model(network, Loss("squared_error"))
    (value,) = session(model).run(["value"], {"x": x.astype(np.float32)})
    np.testing.assert_allclose(value, network(x), rtol=1e-5, atol=1e-5)
    needed = 20 if "gelu" in activation else 17
    assert onnx.load_from_string(encode_onnx(model)).opset_import[0].version == needed


def test_several_labels_a_row() -> None:
    network = Network((5, 9, 4), device="cpu", seed=1)
    x = RNG.normal(size=(33, 5))
    model = Model(network, Loss("binary_cross_entropy"))
    label, probabilities = session(model).run(["label", "probabilities"], {"x": x.astype(np.float32)})
    assert label.tolist() == model.predict(x).tolist()
    np.testing.assert_allclose(probabilities, model.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_model_passes_the_checker(kind: str, tmp_path: Path) -> None:
    model, _ = KINDS[kind]()
    export_onnx(model, tmp_path / "m.onnx")
    loaded = onnx.load(tmp_path / "m.onnx")
    assert loaded.producer_name == "gpu_mlp"
    assert loaded.producer_version == gpu_mlp.__version__
    names = [each.name for each in loaded.graph.input]
    assert names == (["x"] if model.preparation is None else list(model.preparation.input_names))


def test_empty_and_missing_texts_cannot_be_told_apart() -> None:
    table = mixed(LABELS["text"][0])
    table["colour"] = ["", None, "red"] * (ROWS // 3)
    model = fit_table(table, "y", config=TrainingConfig(epochs=1), device="cpu").model
    with refused("column 'colour' has both empty and missing texts", error=ConfigError):
        encode_onnx(model)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = KINDS["linear"]()
    with refused(f"{tmp_path}/none/m.onnx cannot be written", error=ModelFileError):
        export_onnx(model, tmp_path / "none" / "m.onnx")
    with refused("model is", "must be a Model", error=ConfigError):
        export_onnx(model.network, tmp_path / "m.onnx")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refused(
        "needs the package onnx, which is not installed; install it with pip install", error=ConfigError
    ):
        export_onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
