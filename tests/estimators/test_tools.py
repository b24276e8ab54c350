"""scikit-learn's tools around our estimators give what they give around its own."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context, neural_network
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import gpu_mlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
NAMES = ["a", "b", "c", "d"]
VALUES = X[:, 3]
WEIGHTS = np.random.default_rng(0).random(150) + 0.1
QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (6,),
    "max_iter": 15,
    "learning_rate_init": 0.02,
    "random_state": 0,
}


def both(name: str, **settings: Any) -> tuple[Any, Any]:
    """scikit-learn's and ours."""
    settings = QUICK | settings
    return getattr(neural_network, name)(**settings), getattr(gpu_mlp, name)(**settings, device="cpu")


def scaled(estimator: Any) -> Pipeline:
    return make_pipeline(StandardScaler(), estimator)


def test_a_pipeline() -> None:
    theirs, ours = (scaled(each).fit(X, LABELS) for each in both("MLPClassifier"))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)
    hidden = ours.transform(X)
    assert hidden.shape == (150, 6)
    assert list(ours.get_feature_names_out()) == [f"mlpclassifier{i}" for i in range(6)]
    # What the last hidden layer says is enough for another model.
    stacked = make_pipeline(StandardScaler(), both("MLPClassifier")[1], LogisticRegression())
    assert stacked.fit(X, LABELS).score(X, LABELS) > 0.9


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_grid_search(n_jobs: int) -> None:
    grid = {"mlp__alpha": [1e-4, 10.0], "mlp__hidden_layer_sizes": [(3,), (5, 4)]}
    scores = []
    for estimator in both("MLPClassifier"):
        pipeline = Pipeline([("scaler", StandardScaler()), ("mlp", estimator)])
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs).fit(X, LABELS)
        scores.append((search.best_params_, search.cv_results_["mean_test_score"]))
    assert scores[0][0] == scores[1][0]
    np.testing.assert_allclose(scores[1][1], scores[0][1])


def test_threads_do_not_get_into_each_others_way() -> None:
    scores = []
    for n_jobs in (1, 2):
        with joblib.parallel_config("threading", n_jobs=n_jobs):
            estimator = scaled(both("MLPClassifier", batch_size=16)[1])
            scores.append(cross_val_score(estimator, X, LABELS, cv=4, scoring="neg_log_loss"))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_cross_validation() -> None:
    for name, y in (("MLPClassifier", LABELS), ("MLPRegressor", VALUES)):
        scores = [cross_val_score(scaled(each), X, y, cv=3) for each in both(name)]
        np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)
        answers = [cross_val_predict(scaled(each), X, y, cv=3) for each in both(name)]
        np.testing.assert_allclose(answers[1], answers[0], rtol=1e-6)


def test_calibration() -> None:
    found = [CalibratedClassifierCV(scaled(each), cv=2).fit(X, LABELS) for each in both("MLPClassifier")]
    np.testing.assert_allclose(found[1].predict_proba(X), found[0].predict_proba(X), rtol=1e-4)


def test_permutation_importance() -> None:
    found = [
        permutation_importance(scaled(each).fit(X, LABELS), X, LABELS, n_repeats=3, random_state=0)
        for each in both("MLPClassifier")
    ]
    np.testing.assert_allclose(found[1].importances, found[0].importances)
    assert np.ptp(found[1].importances_mean) > 0.05


def test_meta_estimators() -> None:
    targets = np.stack([VALUES, X[:, 0]], axis=1)
    for make, name, y in (
        (
            lambda each: TransformedTargetRegressor(each, func=np.log1p, inverse_func=np.expm1),
            "MLPRegressor",
            VALUES,
        ),
        (MultiOutputRegressor, "MLPRegressor", targets),
        (lambda each: BaggingClassifier(each, n_estimators=2, random_state=0), "MLPClassifier", LABELS),
    ):
        found = [make(each).fit(X, y).predict(X) for each in both(name)]
        np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(library: str) -> None:
    table = pd.DataFrame(X, columns=NAMES) if library == "pandas" else pl.DataFrame(X, schema=NAMES)
    estimator = both("MLPClassifier")[1].set_output(transform=library).fit(table, LABELS)
    frame = estimator.transform(table)
    assert type(frame) is type(table)
    assert list(frame.columns) == [f"mlpclassifier{i}" for i in range(6)]
    np.testing.assert_array_equal(
        frame.to_numpy(), estimator.set_output(transform="default").transform(table)
    )
    pipeline = make_pipeline(StandardScaler(), both("MLPRegressor")[1]).set_output(transform=library)
    assert list(pipeline.fit(table, VALUES).transform(table).columns) == [
        f"mlpregressor{i}" for i in range(6)
    ]


def test_sample_weights_are_routed() -> None:
    with config_context(enable_metadata_routing=True):
        found = []
        for estimator in both("MLPRegressor"):
            estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            scaler = StandardScaler().set_fit_request(sample_weight=False)
            pipeline = make_pipeline(scaler, estimator)
            scores = cross_validate(pipeline, X, VALUES, cv=3, params={"sample_weight": WEIGHTS})[
                "test_score"
            ]
            fitted = pipeline.fit(X, VALUES, sample_weight=WEIGHTS)[-1]
            found.append((scores, fitted.coefs_[0]))
        np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
        np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-6)
        plain = make_pipeline(StandardScaler(), both("MLPRegressor")[1].set_fit_request(sample_weight=False))
        unweighted = plain.fit(X, VALUES)[-1].coefs_[0]
        assert not np.allclose(found[1][1], unweighted)


def test_rows_to_validate_on_are_routed() -> None:
    with config_context(enable_metadata_routing=True):
        estimator = both("MLPRegressor")[1].set_fit_request(X_val=True, y_val=True)
        fitted = Pipeline([("mlp", estimator)]).fit(X, VALUES, X_val=X[:40], y_val=VALUES[:40])[-1]
    assert fitted.validation_scores_[-1] == pytest.approx(fitted.score(X[:40], VALUES[:40]))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_representations(name: str) -> None:
    _, ours = both(name)
    assert f"{name}(" in repr(ours)
    assert "learning_rate_init=0.02" in repr(ours)
    for html in (ours._repr_html_(), scaled(ours)._repr_html_()):
        assert name in html
        assert "not fitted" in html.lower()
    ours.fit(X, VALUES if name == "MLPRegressor" else LABELS)
    assert "not fitted" not in ours._repr_html_().lower()


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_a_clone_has_the_parameters_and_nothing_else(name: str) -> None:
    theirs, ours = both(name, alpha=0.3, early_stopping=True)
    expected = theirs.get_params()
    found = clone(ours.fit(X, VALUES if name == "MLPRegressor" else LABELS)).get_params()
    assert {parameter: found[parameter] for parameter in expected} == expected
    assert not [attribute for attribute in vars(clone(ours)) if attribute.endswith("_")]
    assert (is_classifier(ours), is_regressor(ours)) == (is_classifier(theirs), is_regressor(theirs))
    tags = [each.__sklearn_tags__() for each in (theirs, ours)]
    tags[0].transformer_tags = tags[1].transformer_tags  # scikit-learn's do not transform
    assert tags[0] == tags[1]
