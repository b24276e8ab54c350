"""`Model`: labels, values, probabilities and metrics, beside those of scipy and scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.special
import torch
from sklearn import metrics

from gpu_mlp.config import Loss
from gpu_mlp.data import read_table
from gpu_mlp.metrics import METRIC_NAMES
from gpu_mlp.model import Model, link
from tests.files.models import KINDS, ROWS, array_model

TABLES = [kind for kind in KINDS if kind not in ("bare arrays", "several outputs", "several labels")]


def outputs_by_hand(model: Model, source: Any) -> np.ndarray[Any, Any]:
    """f_K from the prepared features by PyTorch's layers, in the model's type."""
    x = source
    if model.preparation is not None:
        features = {name: source[name] for name in model.preparation.input_names}
        x = model.preparation.transform(read_table(features), model.network.dtype)
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "relu": torch.relu,
        "gelu": torch.nn.functional.gelu,
        "tanh": torch.tanh,
        "silu": torch.nn.functional.silu,
    }
    net = model.network
    h = torch.tensor(np.asarray(x, net.dtype))
    layers = list(zip(net.weights, net.biases, strict=True))
    for k, (omega, beta) in enumerate(layers):
        h = torch.nn.functional.linear(h, torch.tensor(np.array(omega)), torch.tensor(np.array(beta)))
        h = functions[net.activations[k]](h) if k < len(net.activations) else h
    outputs: np.ndarray[Any, Any] = h.numpy()
    return outputs


@pytest.mark.parametrize("kind", KINDS)
def test_the_outputs_are_those_of_the_prepared_features(kind: str) -> None:
    model, source = KINDS[kind]()
    tolerance = 1e-4 if model.network.dtype == "float32" else 1e-11
    expected = outputs_by_hand(model, source)
    outputs = model.outputs(source)
    assert outputs.dtype == model.network.dtype
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind]()[0].task == "classification"])
def test_probabilities_are_softmax_or_expit_and_the_label_is_the_likeliest(kind: str) -> None:
    model, source = KINDS[kind]()
    f = model.outputs(source).astype(np.float64)
    if model.loss.name == "softmax_cross_entropy":
        expected = scipy.special.softmax(f, axis=1)
    else:
        expected = scipy.special.expit(f)
        if f.shape[1] == 1:
            expected = np.hstack([scipy.special.expit(-f), expected])
    found = model.predict_proba(source)
    assert found.dtype == np.float64
    assert found.shape == (ROWS, len(model.classes))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)
    if kind != "several labels":
        np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-14)
        likeliest = [model.classes[index] for index in found.argmax(axis=1)]
        assert model.predict(source).tolist() == likeliest
        assert {type(label) for label in model.predict(source).tolist()} == {type(model.classes[0])}
        assert len(set(likeliest)) > 1  # else this says little


@pytest.mark.parametrize("kind", ["regression", "huber in float64", "linear", "mixed activations"])
def test_values_are_in_the_targets_own_units(kind: str) -> None:
    model, source = KINDS[kind]()
    expected = model.outputs(source)[:, 0].astype(np.float64) * np.std(source["y"]) + np.mean(source["y"])
    np.testing.assert_allclose(model.predict(source), expected, rtol=1e-12)
    assert model.predict(source).shape == (ROWS,)
    assert model.classes == ()


def test_counts_are_predicted_by_their_rate() -> None:
    model, source = KINDS["counts"]()
    np.testing.assert_allclose(
        model.predict(source), np.exp(model.outputs(source)[:, 0].astype(np.float64)), rtol=1e-14
    )


def test_without_a_target_labels_are_numbers_and_values_stay_as_they_are() -> None:
    model, x = KINDS["bare arrays"]()
    assert model.classes == (0, 1)
    assert model.predict(x).tolist() == model.outputs(x).argmax(axis=1).tolist()
    binary, x = array_model("binary_cross_entropy", (3, 1))
    assert binary.classes == (0, 1)
    assert binary.predict(x).tolist() == (binary.outputs(x)[:, 0] > 0).astype(int).tolist()
    several, x = KINDS["several outputs"]()
    np.testing.assert_array_equal(several.predict(x), several.outputs(x))
    single, x = array_model("squared_error", (3, 1))
    np.testing.assert_array_equal(single.predict(x), single.outputs(x)[:, 0])


def test_several_labels_a_row_are_decided_one_by_one() -> None:
    model, x = KINDS["several labels"]()
    predicted = model.predict(x)
    np.testing.assert_array_equal(predicted, model.predict_proba(x) > 0.5)
    assert predicted.dtype == np.int64
    assert predicted.shape == (ROWS, 4)
    assert model.classes == (0, 1, 2, 3)
    assert len(np.unique(predicted, axis=0)) > 2


def test_both_probabilities_of_one_logit_are_exact_where_they_are_small() -> None:
    """1 - p would be 0 from f = 37 on."""
    model, x = array_model("binary_cross_entropy", (3, 1))
    model.network.weights[0][...] *= 50.0
    f = model.outputs(x)[:, 0].astype(np.float64)
    assert f.min() < -60
    assert f.max() > 60
    found = model.predict_proba(x)
    np.testing.assert_allclose(found, scipy.special.expit(np.stack([-f, f], axis=1)), rtol=1e-14, atol=0)
    assert found.min() > 0.0


def test_probabilities_of_huge_outputs_are_exact_and_without_a_warning() -> None:
    f = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [3e38, 0.0, -3e38], [88.0, 89.0, 90.0]], np.float32)
    wide = f.astype(np.float64)
    with np.errstate(all="raise", under="ignore"):
        softmax = link(Loss("softmax_cross_entropy"), f)
        expit = link(Loss("binary_cross_entropy"), f)
        rate = link(Loss("poisson"), f)
    np.testing.assert_allclose(softmax, scipy.special.softmax(wide, axis=1), rtol=1e-14)
    np.testing.assert_allclose(expit, scipy.special.expit(wide), rtol=1e-14)
    np.testing.assert_allclose(rate, np.exp(np.minimum(wide, 50.0)), rtol=1e-14)
    assert link(Loss("huber"), f).tolist() == wide.tolist()


def reference_metrics(model: Model, source: Any, y: Any) -> dict[str, float]:
    """By scikit-learn, from labels in their own type and from probabilities; the likes of r2 by hand."""
    predicted = model.predict(source)
    if model.task == "regression":
        error = np.asarray(predicted) - np.asarray(y, dtype=np.float64)
        spread = np.square(y - np.mean(y)).sum()
        return {
            "rmse": float(np.sqrt(np.square(error).mean())),
            "mae": float(np.abs(error).mean()),
            "r2": float(1 - np.square(error).sum() / spread),
        }
    probabilities = model.predict_proba(source)
    truth = [model.classes.index(label) for label in y]
    likelihood = probabilities[np.arange(len(truth)), truth]
    guessed = [model.classes.index(label) for label in predicted.tolist()]
    found = {
        "accuracy": float(np.mean(predicted == np.asarray(y))),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, guessed),
        "macro_f1": metrics.f1_score(truth, guessed, average="macro", zero_division=0),
        "log_loss": float(-np.log(likelihood).mean()),
    }
    if len(model.classes) == 2:
        found["roc_auc"] = metrics.roc_auc_score(truth, probabilities[:, 1])
    return found


@pytest.mark.parametrize("kind", TABLES)
def test_metrics_are_scikit_learns_with_the_target_in_the_table_or_apart(kind: str) -> None:
    model, source = KINDS[kind]()
    y = np.asarray(source["y"]).tolist()
    expected = reference_metrics(model, source, y)
    found = model.evaluate(source)
    assert found == pytest.approx(expected, rel=1e-9)
    assert all(type(value) is float for value in found.values())
    assert set(found) <= set(METRIC_NAMES)
    features = {name: values for name, values in source.items() if name != "y"}
    apart: list[Any] = [y, tuple(y), np.array(y), pd.Series(y, index=range(5, 5 + ROWS)), pl.Series(y)]
    if not isinstance(y[0], str):
        apart.append(torch.tensor(y, dtype=torch.float64 if isinstance(y[0], float) else None))
    for values in apart:
        assert model.evaluate(features, values) == found
    shifted = [*y[1:], y[0]]
    assert model.evaluate(source, shifted) != found  # y is what counts where it is given
    assert model.evaluate(features, shifted) == model.evaluate({**source, "y": shifted})


def test_metrics_of_bare_arrays_are_scikit_learns() -> None:
    model, x = KINDS["bare arrays"]()
    labels = np.arange(ROWS) % 2
    expected = reference_metrics(model, x, labels.tolist())
    for y in (
        labels,
        labels.tolist(),
        labels == 1,
        torch.tensor(labels),
        pd.Series(labels),
        labels.astype("u1"),
    ):
        assert model.evaluate(x, y) == pytest.approx(expected, rel=1e-9)
    logit, x = array_model("binary_cross_entropy", (3, 1))
    expected = reference_metrics(logit, x, labels.tolist())
    for y in (labels, labels.astype(float), labels[:, None], labels == 1):
        assert logit.evaluate(x, y) == pytest.approx(expected, rel=1e-9)
    single, x = array_model("squared_error", (3, 1))
    values = np.sin(np.arange(ROWS))
    expected = reference_metrics(single, x, values)
    for y in (values, values[:, None], torch.tensor(values)):
        assert single.evaluate(x, y) == pytest.approx(expected, rel=1e-9)
    several, x = KINDS["several outputs"]()
    error = several.predict(x) - 1.0
    found = several.evaluate(x, np.ones((ROWS, 4)))
    assert found["mae"] == pytest.approx(np.abs(error).mean())
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(error).mean(axis=0)).mean())  # of each output


def test_metrics_that_need_more_are_left_out_without_a_warning() -> None:
    """One row has no R², one class no ROC; a class that is absent counts in F1 but not in the mean recall."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regression, source = KINDS["regression"]()
        assert set(regression.evaluate(read_table(source).select([3]))) == {"rmse", "mae"}
        logit, source = KINDS["one logit"]()
        one = logit.evaluate(read_table(source).select(np.array(source["y"]) == "yes"))
        assert set(one) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss"}
        assert one["balanced_accuracy"] == one["accuracy"]
        three, source = KINDS["text labels"]()
        two = read_table(source).select(np.array(source["y"]) != "a")
        recall = metrics.recall_score(
            two.column("y").tolist(),
            three.predict(two).tolist(),
            labels=["", "ß"],
            average="macro",
            zero_division=0,
        )
        assert three.evaluate(two)["balanced_accuracy"] == pytest.approx(recall)
