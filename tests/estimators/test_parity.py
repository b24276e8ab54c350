"""The same `random_state` gives scikit-learn's network: coefficients, losses, scores and counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import neural_network

import gpu_mlp
from tests.estimators.problems import Problem, random_problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PROBLEMS = 36
# What is told of a fit, where the solver tells it.
TOLD = ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_", "t_")


def both(problem: Problem, **more: Any) -> tuple[Any, Any]:
    """scikit-learn's estimator and ours, not fitted."""
    name = "MLPClassifier" if problem.classes else "MLPRegressor"
    settings = problem.settings | more
    return getattr(neural_network, name)(**settings), getattr(gpu_mlp, name)(**settings, device="cpu")


def check_equal(theirs: Any, ours: Any) -> None:
    """Coefficients to 1e-8, and all that is told."""
    pairs = zip((*theirs.coefs_, *theirs.intercepts_), (*ours.coefs_, *ours.intercepts_), strict=True)
    for expected, actual in pairs:
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-8)
    for name in TOLD:
        expected, actual = getattr(theirs, name, None), getattr(ours, name, None)
        if expected is None or (name == "best_loss_" and expected == np.inf):
            continue
        np.testing.assert_allclose(
            np.array(actual, float), np.array(expected, float), rtol=1e-7, err_msg=name
        )
    assert (ours.n_layers_, ours.n_outputs_) == (theirs.n_layers_, theirs.n_outputs_)
    assert ours.out_activation_ == theirs.out_activation_


@pytest.mark.parametrize("seed", range(PROBLEMS))
def test_a_fit_has_scikit_learns_coefficients(seed: int) -> None:
    problem = random_problem(seed)
    theirs, ours = both(problem)
    for estimator in (theirs, ours):
        estimator.fit(problem.x, problem.y, sample_weight=problem.sample_weight)
    check_equal(theirs, ours)
    np.testing.assert_allclose(ours.predict(problem.x), theirs.predict(problem.x), rtol=1e-6, atol=1e-7)
    if problem.classes:
        np.testing.assert_allclose(ours.predict_proba(problem.x), theirs.predict_proba(problem.x), atol=1e-8)
    assert ours.score(problem.x, problem.y) == pytest.approx(theirs.score(problem.x, problem.y), abs=1e-7)


@pytest.mark.parametrize("seed", range(12))
def test_partial_fit_goes_on_as_scikit_learns_does(seed: int) -> None:
    problem = random_problem(seed)
    if problem.settings["solver"] == "lbfgs":
        problem.settings["solver"] = "sgd"
    theirs, ours = both(problem, early_stopping=False)
    more = {"classes": np.unique(problem.y) if problem.y.ndim == 1 else [0, 1, 2]} if problem.classes else {}
    for part in (slice(None), slice(0, 50), slice(10, None)):
        for estimator in (theirs, ours):
            estimator.partial_fit(problem.x[part], problem.y[part], **more)
    check_equal(theirs, ours)


@pytest.mark.parametrize("seed", range(12))
def test_a_warm_start_goes_on_as_scikit_learns_does(seed: int) -> None:
    """Without early stopping: a second fit of scikit-learn's writes into the best weights that it keeps."""
    problem = random_problem(seed)
    theirs, ours = both(problem, warm_start=True, max_iter=5, early_stopping=False)
    for _ in range(2):
        for estimator in (theirs, ours):
            estimator.fit(problem.x, problem.y, sample_weight=problem.sample_weight)
    check_equal(theirs, ours)


def test_another_seed_gives_another_network() -> None:
    """The control."""
    problem = random_problem(0)
    theirs, _ = both(problem)
    _, ours = both(problem, random_state=1)
    for estimator in (theirs, ours):
        estimator.fit(problem.x, problem.y)
    with pytest.raises(AssertionError):
        check_equal(theirs, ours)
