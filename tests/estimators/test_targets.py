"""Every kind of target that scikit-learn's estimators take, with its answers: classes, labels, numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn import neural_network

import gpu_mlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
THREE = np.digitize(X[:, 0], [-0.4, 0.4])
LABELS = (X[:, :3] > 0).astype(int)
QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (6,),
    "max_iter": 12,
    "learning_rate_init": 0.03,
    "random_state": 0,
}

CLASSES: dict[str, Any] = {
    "binary": THREE > 0,
    "binary numbers": np.array([-3, 8])[(THREE > 0).astype(int)],
    "binary text": np.array(["oak", "ash"])[(THREE > 0).astype(int)],
    "binary text objects": np.array(["oak", "ash"], object)[(THREE > 0).astype(int)],
    "text": np.array(["oak", "ash", "yew"])[THREE],
    "unordered numbers": np.array([30, -7, 4])[THREE],
    "floats that are whole": np.array([2.0, 0.0, 1.0])[THREE],
    "unsigned numbers": THREE.astype(np.uint8),
    "a list": THREE.tolist(),
    "a column": pd.DataFrame({"y": THREE})["y"],
    "a polars column": pl.Series("y", np.array(["oak", "ash", "yew"])[THREE]),
    "categories": pd.Series(pd.Categorical(np.array(["oak", "ash", "yew"])[THREE])),
    "one class": np.full(80, 7),
    "one class of text": np.full(80, "ash"),
    "labels": LABELS,
    "labels that are true or false": LABELS > 0,
    "sparse labels": scipy.sparse.csr_matrix(LABELS),
    "labels in a list": LABELS.tolist(),
    "labels, one of which is never set": LABELS * [1, 0, 1],
    "two labels": LABELS[:, :2],
}


def fitted(package: Any, name: str, y: Any, **settings: Any) -> Any:
    return getattr(package, name)(**QUICK | settings).fit(X, y)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_classes_are_answered_as_scikit_learns_answers(kind: str, early_stopping: bool) -> None:
    y = CLASSES[kind]
    theirs = fitted(neural_network, "MLPClassifier", y, early_stopping=early_stopping)
    ours = fitted(gpu_mlp, "MLPClassifier", y, early_stopping=early_stopping, device="cpu")
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.classes_.dtype == theirs.classes_.dtype
    expected, found = theirs.predict(X), ours.predict(X)
    np.testing.assert_array_equal(_dense(found), _dense(expected))
    assert (type(found), found.dtype, found.shape) == (type(expected), expected.dtype, expected.shape)
    for method in ("predict_proba", "predict_log_proba"):
        expected, found = getattr(theirs, method)(X), getattr(ours, method)(X)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert (ours.n_outputs_, ours.out_activation_) == (theirs.n_outputs_, theirs.out_activation_)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))
    assert ours.loss_ == pytest.approx(theirs.loss_)


def _dense(answers: Any) -> Any:
    return answers.toarray() if scipy.sparse.issparse(answers) else answers


@pytest.mark.parametrize("kind", ["binary text", "text", "unordered numbers", "labels", "one class"])
def test_partial_fit_knows_the_same_classes(kind: str) -> None:
    y = CLASSES[kind]
    classes = (
        [0, 1, 2] if kind == "labels" else [*np.unique(y).tolist(), *(["elm"] if "text" in kind else [99])]
    )
    estimators = [package.MLPClassifier(**QUICK) for package in (neural_network, gpu_mlp)]
    for rows in (slice(0, 30), slice(30, None)):
        for estimator in estimators:
            estimator.partial_fit(X[rows], y[rows], classes=classes)
    theirs, ours = estimators
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)


NUMBERS: dict[str, Any] = {
    "whole numbers": THREE,
    "float32": X[:, 0].astype(np.float32),
    "a list": X[:, 0].tolist(),
    "a column": pd.Series(X[:, 0], name="y"),
    "a polars column": pl.Series("y", X[:, 0]),
    "true or false": THREE > 0,
    "several outputs": X[:, :2] @ np.array([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]]),
    "several outputs in a table": pd.DataFrame(X[:, :2], columns=["a", "b"]),
    "numbers as objects": X[:, 0].astype(object),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_numbers_are_answered_as_scikit_learns_answers(kind: str, early_stopping: bool) -> None:
    y = NUMBERS[kind]
    if kind == "true or false" and early_stopping:
        y = y.astype(float)  # R^2 of them is not defined
    theirs = fitted(neural_network, "MLPRegressor", y, early_stopping=early_stopping)
    ours = fitted(gpu_mlp, "MLPRegressor", y, early_stopping=early_stopping, device="cpu")
    expected, found = theirs.predict(X), ours.predict(X)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert ours.loss_ == pytest.approx(theirs.loss_)
    assert ours.n_outputs_ == theirs.n_outputs_
