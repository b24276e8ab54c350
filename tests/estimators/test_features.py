"""Every kind of table as X: the same network as from a NumPy array, of the same type, and not a value changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn import neural_network

import gpu_mlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(90, 4)), 1) * (RNG.random((90, 4)) < 0.6)
Y = np.digitize(X[:, 0] + X[:, 1], [-0.4, 0.4])
WEIGHTS = RNG.random(90) + 0.1
NAMES = ["a", "b", "c", "d"]


class DlpackOnly:
    """Memory of a library that NumPy has never heard of."""

    def __init__(self, array: Any) -> None:
        self._tensor = torch.tensor(np.asarray(array))

    def __dlpack__(self, **settings: Any) -> Any:
        return self._tensor.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def non_contiguous(x: Any) -> Any:
    """The same values, every second row and column of a larger array, backwards."""
    large = np.full((2 * len(x), 2 * x.shape[1]), np.nan, x.dtype)
    large[::2, ::2] = x[::-1]
    return large[::2, ::2][::-1]


def read_only(x: Any) -> Any:
    x = x.copy()
    x.flags.writeable = False
    return x


KINDS: dict[str, Callable[[Any], Any]] = {
    "csr matrix": scipy.sparse.csr_matrix,
    "csr array": scipy.sparse.csr_array,
    "csc matrix": scipy.sparse.csc_matrix,
    "coo matrix": scipy.sparse.coo_matrix,
    "coo array": scipy.sparse.coo_array,
    "pandas": lambda x: pd.DataFrame(x, columns=NAMES),
    "polars": lambda x: pl.DataFrame(x, schema=NAMES),
    "torch": torch.tensor,
    "DLPack alone": DlpackOnly,
    "Fortran's order": np.asfortranarray,
    "neither order": non_contiguous,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}


def classifier(**settings: Any) -> gpu_mlp.MLPClassifier:
    quick: dict[str, Any] = {"hidden_layer_sizes": (6, 5), "max_iter": 6, "random_state": 0, "device": "cpu"}
    return gpu_mlp.MLPClassifier(**quick | settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_every_kind_of_table_gives_the_same_network(kind: str, dtype: Any, early_stopping: bool) -> None:
    x = X.astype(dtype)
    table = KINDS[kind](x)
    expected = classifier(early_stopping=early_stopping).fit(x, Y, sample_weight=WEIGHTS)
    found = classifier(early_stopping=early_stopping).fit(table, Y, sample_weight=WEIGHTS)
    for method in ("predict", "predict_proba", "predict_log_proba", "transform"):
        values = getattr(found, method)(table)
        np.testing.assert_array_equal(values, getattr(expected, method)(x))
        # A row of a batch of another size is computed in another order.
        part = getattr(found, method)(KINDS[kind](x[20:23]))
        np.testing.assert_allclose(part, values[20:23], rtol=1e-5 if dtype == np.float32 else 1e-12)
        if method != "predict":
            assert values.dtype == dtype
    assert {each.dtype for each in (*found.coefs_, *found.intercepts_)} == {np.dtype(dtype)}
    assert hasattr(found, "feature_names_in_") == (kind in ("pandas", "polars"))
    if not early_stopping:
        expected.partial_fit(x, Y)
        np.testing.assert_array_equal(found.partial_fit(table, Y).coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "bool", "float16", "object"], ids=str)
def test_other_types_become_float64_as_for_scikit_learn(dtype: str) -> None:
    x = (X * 10).astype(dtype)
    settings: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
    theirs = neural_network.MLPRegressor(**settings).fit(x, X[:, 0])
    ours = gpu_mlp.MLPRegressor(**settings, device="cpu").fit(x, X[:, 0])
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float64
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-9)


@pytest.mark.parametrize("wrap", [DlpackOnly, torch.tensor, pd.Series, list], ids=lambda each: each.__name__)
def test_targets_and_weights_of_every_kind(wrap: Callable[[Any], Any]) -> None:
    x = DlpackOnly(X)
    settings = {"early_stopping": True, "validation_fraction": 0.2}
    found = classifier(**settings).fit(x, wrap(Y), sample_weight=wrap(WEIGHTS))
    expected = classifier(**settings).fit(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
    assert found.score(x, wrap(Y), wrap(WEIGHTS)) == expected.score(X, Y, WEIGHTS)
    given = classifier().fit(X, wrap(Y), X_val=DlpackOnly(X[:20]), y_val=wrap(Y[:20]))
    expected = classifier().fit(X, Y, X_val=X[:20], y_val=Y[:20])
    assert given.validation_scores_ == expected.validation_scores_
    first = classifier().partial_fit(x, wrap(Y), wrap(WEIGHTS), classes=wrap(np.arange(3)))
    np.testing.assert_array_equal(first.classes_, [0, 1, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_not_written_to(kind: str) -> None:
    x = X.copy()
    table = KINDS[kind](x)
    classifier(max_iter=2).fit(table, Y).predict(table)
    np.testing.assert_array_equal(x, X)
    if isinstance(table, np.ndarray):
        np.testing.assert_array_equal(table, X)


def test_a_later_change_of_the_table_does_not_reach_the_model() -> None:
    x = X.copy()
    estimator = classifier().fit(x, Y)
    before = estimator.predict_proba(X)
    x[...] = np.nan
    np.testing.assert_array_equal(estimator.predict_proba(X), before)


@pytest.mark.parametrize("sparse", [False, True])
def test_many_rows_are_predicted_in_blocks(sparse: bool) -> None:
    """More than are computed at once."""
    estimator = classifier().fit(X, Y)
    many = np.tile(X, (200, 1))
    table = scipy.sparse.csr_matrix(many) if sparse else many
    for method in ("predict", "predict_proba", "transform"):
        found = getattr(estimator, method)(table)
        assert len(found) == len(many)
        np.testing.assert_allclose(found, np.concatenate([getattr(estimator, method)(X)] * 200), rtol=1e-12)


def test_a_model_of_one_type_predicts_a_table_of_the_other() -> None:
    for trained, asked in ((np.float32, np.float64), (np.float64, np.float32)):
        estimator = classifier().fit(X.astype(trained), Y)
        found = estimator.predict_proba(X.astype(asked))
        assert found.dtype == trained
        np.testing.assert_allclose(found, estimator.predict_proba(X.astype(trained)), rtol=1e-5)
