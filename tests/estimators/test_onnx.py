"""skl2onnx's converter takes the fitted estimators, and ONNX Runtime gives their predictions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skl2onnx
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gpu_mlp
from gpu_mlp.errors import ConfigError
from gpu_mlp.estimators.onnx import register_with_skl2onnx
from tests.test_package import REPOSITORY

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
THREE = np.digitize(X[:, 0], [-0.4, 0.4])
QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (6, 5),
    "max_iter": 20,
    "learning_rate_init": 0.02,
    "random_state": 0,
}

CLASSES: dict[str, Any] = {
    "binary": THREE // 2,
    "binary text": np.array(["oak", "ash"])[THREE // 2],
    "multi-class": THREE * 10 - 3,
    "multi-class text": np.array(["oak", "ash", "yew"])[THREE],
    "two labels": (X[:, :2] > 0).astype(int),
    "three labels": (X[:, :3] > 0).astype(int),
}
NUMBERS: dict[str, Any] = {
    "one": X[:, 0] - X[:, 1],
    "two": X[:, :2],
    "three": X[:, :3] @ RNG.normal(size=(3, 3)),
}
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


@pytest.fixture(autouse=True)
def registered() -> None:
    register_with_skl2onnx()


def run(estimator: Any, x: np.ndarray[Any, Any], **options: Any) -> list[np.ndarray[Any, Any]]:
    """What ONNX Runtime makes of all rows."""
    model = skl2onnx.to_onnx(estimator, x[:1], **options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    found: list[np.ndarray[Any, Any]] = session.run(None, {given.name: x})
    for output, values in zip(model.graph.output, found, strict=True):
        _, *columns = output.type.tensor_type.shape.dim  # of any number of rows
        assert [each.dim_value for each in columns] == list(values.shape[1:])
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", CLASSES)
def test_classes_and_probabilities_agree(kind: str, activation: str, dtype: Any) -> None:
    x = X.astype(dtype)
    estimator = gpu_mlp.MLPClassifier(**QUICK, activation=activation, device="cpu").fit(x, CLASSES[kind])
    labels, probabilities = run(estimator, x, options={"zipmap": False})
    np.testing.assert_array_equal(labels, estimator.predict(x))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(x), atol=1e-6)
    assert np.ptp(probabilities) > 0.05
    assert probabilities.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_numbers_agree(kind: str, activation: str, dtype: Any, loss: str) -> None:
    x, y = X.astype(dtype), NUMBERS[kind]
    y = np.exp(y / 2) if loss == "poisson" else y
    estimator = gpu_mlp.MLPRegressor(loss, **QUICK, activation=activation, device="cpu").fit(x, y)
    (found,) = run(estimator, x)
    expected = estimator.predict(x).reshape(len(x), -1)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)
    assert np.ptp(found) > 0.1
    assert found.dtype == dtype


def test_a_pipeline_is_converted_with_probabilities_by_class() -> None:
    x, y = X.astype(np.float32), CLASSES["multi-class text"]
    pipeline = make_pipeline(StandardScaler(), gpu_mlp.MLPClassifier(**QUICK, device="cpu")).fit(x, y)
    model = skl2onnx.to_onnx(pipeline, x[:1])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_array_equal(labels, pipeline.predict(x))
    expected = pipeline.predict_proba(x)
    assert list(probabilities[0]) == list(pipeline.classes_) == ["ash", "oak", "yew"]
    np.testing.assert_allclose([list(each.values()) for each in probabilities], expected, atol=1e-6)


def test_one_activation_named_for_every_layer_is_one() -> None:
    estimator = gpu_mlp.MLPRegressor(**QUICK, activation=["sigmoid", "logistic"], device="cpu").fit(
        X, X[:, 0]
    )
    np.testing.assert_allclose(run(estimator, X)[0].ravel(), estimator.predict(X), atol=1e-6)
    linear = gpu_mlp.MLPRegressor(**QUICK | {"hidden_layer_sizes": ()}, device="cpu").fit(X, X[:, 0])
    np.testing.assert_allclose(run(linear, X)[0].ravel(), linear.predict(X), atol=1e-6)


@pytest.mark.parametrize("activation", ["gelu", ["tanh", "relu"]], ids=str)
def test_what_the_converter_does_not_know_is_refused(activation: Any) -> None:
    estimator = gpu_mlp.MLPRegressor(**QUICK, activation=activation, device="cpu").fit(X, X[:, 0])
    with pytest.raises(ConfigError) as caught:
        run(estimator, X)
    assert str(caught.value) == (
        f"activation is {activation!r}, but skl2onnx's converter takes one for all hidden layers: identity, tanh, "
        "logistic, relu"
    )


def test_skl2onnx_is_not_loaded_before_it_is_asked_for() -> None:
    code = "import sys, gpu_mlp.estimators.onnx; sys.exit('skl2onnx' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
