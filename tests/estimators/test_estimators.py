"""What the estimators take, tell and refuse beyond scikit-learn's own tests, on every backend where it matters."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris

import gpu_mlp
from gpu_mlp.backends.base import ACTIVATION_NAMES, Ops
from gpu_mlp.config import OPTIMIZER_NAMES
from gpu_mlp.errors import ConfigError, DeviceError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
QUICK: dict[str, Any] = {"max_iter": 30, "learning_rate_init": 0.02, "random_state": 0}


def classifier(**settings: Any) -> gpu_mlp.MLPClassifier:
    return gpu_mlp.MLPClassifier((9, 7), **({"device": "cpu"} | QUICK | settings))


def regressor(**settings: Any) -> gpu_mlp.MLPRegressor:
    return gpu_mlp.MLPRegressor(**({"device": "cpu", "hidden_layer_sizes": (8,)} | QUICK | settings))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_every_backend_learns_the_cpus_network(ops: Ops, solver: str) -> None:
    settings: dict[str, Any] = {
        "solver": solver,
        "max_iter": 4,
        "batch_size": 32,
        "learning_rate": "invscaling",
    }
    weights = np.random.default_rng(0).random(len(X))
    fitted = [
        classifier(device=device, **settings).fit(X, Y, sample_weight=weights)
        for device in ("cpu", ops.device)
    ]
    for expected, actual in zip(fitted[0].coefs_, fitted[1].coefs_, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)
    assert fitted[1].device_ == ops.device
    assert fitted[1].loss_ == pytest.approx(fitted[0].loss_, rel=1e-7)
    if solver != "lbfgs":
        for estimator in fitted:
            estimator.partial_fit(X[:40], Y[:40])
        np.testing.assert_allclose(fitted[1].predict_proba(X), fitted[0].predict_proba(X), rtol=1e-6)


def test_a_batch_without_weight_is_no_step(ops: Ops) -> None:
    """scikit-learn divides by zero there; the penalty of the coefficients is over the weight, too."""
    settings: dict[str, Any] = {
        "solver": "sgd",
        "momentum": 0.0,
        "shuffle": False,
        "batch_size": 10,
        "max_iter": 3,
    }
    settings |= {"alpha": 0.1, "device": ops.device}
    found = classifier(**settings).fit(X, Y, sample_weight=np.arange(150) >= 20)
    rest = np.flatnonzero(np.arange(150) >= 20)
    expected = classifier(**settings).fit(X[rest], Y[rest])
    for actual, other in zip(found.coefs_, expected.coefs_, strict=True):
        np.testing.assert_allclose(actual, other, rtol=1e-12)
    assert found.loss_ == pytest.approx(expected.loss_ * 130 / 150, rel=1e-9)


@pytest.mark.parametrize(
    "table",
    [
        scipy.sparse.csr_matrix(X),
        scipy.sparse.csc_array(X),
        torch.tensor(X),
        pl.DataFrame(X, schema=["a", "b", "c", "d"]),
        pd.DataFrame(X, columns=["a", "b", "c", "d"]),
        X.tolist(),
    ],
    ids=["csr", "csc", "torch", "polars", "pandas", "list"],
)
def test_every_kind_of_table_gives_the_same_network(table: Any) -> None:
    estimator = classifier().fit(table, Y)
    np.testing.assert_array_equal(estimator.predict_proba(table), classifier().fit(X, Y).predict_proba(X))
    assert estimator.transform(table).shape == (150, 7)
    if hasattr(table, "columns"):
        assert list(estimator.feature_names_in_) == ["a", "b", "c", "d"]


def test_float32_stays_float32() -> None:
    for dtype in (np.float32, np.float64):
        estimator = regressor().fit(X[:, :3].astype(dtype), X[:, 3].astype(dtype))
        assert estimator.predict(X[:, :3].astype(dtype)).dtype == dtype
        assert {each.dtype for each in (*estimator.coefs_, *estimator.intercepts_)} == {np.dtype(dtype)}


def test_the_last_hidden_layer_is_what_transform_returns() -> None:
    estimator = classifier(activation="tanh").fit(X, Y)
    h = X
    for omega, beta in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True):
        h = np.tanh(h @ omega + beta)
    np.testing.assert_allclose(estimator.transform(X), h, rtol=1e-12)
    assert list(estimator.get_feature_names_out())[:2] == ["mlpclassifier0", "mlpclassifier1"]
    frame = estimator.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == list(estimator.get_feature_names_out())


def test_coefficients_that_are_assigned_or_edited_are_used() -> None:
    estimator = classifier().fit(X, Y)
    estimator.coefs_ = [np.zeros_like(each) for each in estimator.coefs_]
    estimator.intercepts_[-1] = np.log([0.2, 0.3, 0.5])
    np.testing.assert_allclose(estimator.predict_proba(X[:2]), [[0.2, 0.3, 0.5]] * 2)
    other = classifier().fit(X, Y)
    other.coefs_[-1][...] = 0.0
    other.intercepts_[-1][...] = 0.0
    np.testing.assert_allclose(other.predict_proba(X[:1]), 1 / 3)


@pytest.mark.parametrize(
    "settings",
    [
        *({"activation": name} for name in ACTIVATION_NAMES if name != "identity"),
        *({"optimizer": name} for name in OPTIMIZER_NAMES if name not in ("lion", "adagrad", "sgd")),
        *({"schedule": name} for name in ("constant", "cosine", "one_cycle")),
        {"optimizer": "lion", "learning_rate_init": 0.003, "max_iter": 90},
        {"optimizer": "adagrad", "learning_rate_init": 0.1},
        {"activation": ["tanh", "logistic"]},
        {"dropout": 0.1},
        {"label_smoothing": 0.1},
        {"clip_norm": 0.5},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_what_scikit_learn_does_not_have_learns_too(settings: dict[str, Any]) -> None:
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    settings = {"max_iter": 60} | settings
    estimator = classifier(**settings).fit(x.astype(np.float32), Y)
    assert estimator.score(x.astype(np.float32), Y) > 0.8
    assert np.any(estimator.coefs_[0] != classifier(max_iter=60).fit(x.astype(np.float32), Y).coefs_[0]) or (
        settings in ({"max_iter": 60, "activation": "relu"}, {"max_iter": 60, "schedule": "constant"})
    )


@pytest.mark.parametrize("loss", ["huber", "absolute_error", "quantile", "squared_error"])
def test_regressors_minimise_their_loss(loss: str) -> None:
    settings: dict[str, Any] = {"loss": loss, "quantile": 0.8, "alpha": 0.0, "huber_delta": 0.3}
    estimator = regressor(solver="lbfgs", max_iter=200, **settings).fit(X[:, :3], X[:, 3])
    parameters = {"huber": {"delta": 0.3}, "quantile": {"quantile": 0.8}}.get(loss, {})
    found, _ = getattr(gpu_mlp.losses, loss)(estimator.predict(X[:, :3])[:, None], X[:, 3:], **parameters)
    factor = 0.5 if loss == "squared_error" else 1.0
    assert estimator.loss_ == pytest.approx(factor * float(found), rel=1e-9)
    assert estimator.loss_ < 0.2
    if loss == "quantile":
        assert 0.6 < np.mean(X[:, 3] <= estimator.predict(X[:, :3])) < 0.95


def test_rows_of_ones_own_are_validated_on() -> None:
    stopped = classifier(early_stopping=True, n_iter_no_change=3, max_iter=200).fit(
        X, Y, X_val=X[::3], y_val=Y[::3]
    )
    assert stopped.best_validation_score_ == max(stopped.validation_scores_)
    assert stopped.score(X[::3], Y[::3]) == stopped.best_validation_score_
    watched = classifier().fit(X, Y, X_val=X[::3], y_val=Y[::3])
    np.testing.assert_array_equal(watched.coefs_[0], classifier().fit(X, Y).coefs_[0])
    assert [epoch.validation_metric for epoch in watched.history_] == watched.validation_scores_
    with pytest.raises(ValueError, match="X_val was given without y_val"):
        classifier().fit(X, Y, X_val=X)


def test_a_fitted_estimator_is_kept_without_its_device() -> None:
    estimator = classifier(solver="sgd").fit(X, Y)
    estimator.partial_fit(X, Y)
    copies = [pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)]
    assert not {"_session", "_step"} & set(vars(copies[0]))
    for each in (estimator, *copies):
        each.partial_fit(X, Y)
    for each in copies:
        np.testing.assert_array_equal(each.coefs_[0], estimator.coefs_[0])
    assert not hasattr(clone(estimator), "coefs_")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"a CUDA device was asked for|device cuda:99 was asked for"):
        classifier(device="cuda:99").fit(X, Y)
    with pytest.raises(ConfigError, match="device 'gpu' is unknown"):
        classifier(device="gpu").fit(X, Y)
