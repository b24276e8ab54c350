"""X, y and weights that are on a GPU already: read where they are, with the same results and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.errors import GpuMlpError
from tests.conftest import ops_or_skip
from tests.estimators.device_arrays import Watch, given, install

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 40))
LABELS = np.array(["ash", "oak", "yew"])[np.digitize(X[:, 0], [-0.4, 0.4])]
TARGETS: dict[str, Any] = {
    "binary": (X[:, 0] > 0).astype(int),
    "multi-class": np.digitize(X[:, 0], [-0.4, 0.4]) + 5,
    "multi-label": (X[:, :3] > 0).astype(int),
    "regression": X[:, 0] - X[:, 1],
    "multi-output": X[:, :3] @ RNG.normal(size=(3, 2)),
}
WEIGHTS = RNG.random(90) + 0.1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return install(monkeypatch)


def make(task: str, **settings: Any) -> Any:
    """An estimator for the task."""
    class_ = gpu_mlp.MLPRegressor if "regression" in task or "output" in task else gpu_mlp.MLPClassifier
    quick: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "batch_size": 32}
    return class_(**quick | {"device": "cuda"} | settings)


def check_equal(found: Any, expected: Any) -> None:
    """Coefficients and what was told on the way, to rounding."""
    pairs = zip((*found.coefs_, *found.intercepts_), (*expected.coefs_, *expected.intercepts_), strict=True)
    for actual, other in pairs:
        np.testing.assert_allclose(actual, other, rtol=1e-9, atol=1e-12)
    for name in ("loss_curve_", "validation_scores_", "n_iter_"):
        np.testing.assert_allclose(
            np.array(getattr(found, name, None), float),
            np.array(getattr(expected, name, None), float),
            rtol=1e-9,
        )


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fit_stays_on_the_device(watch: Watch, task: str, early_stopping: bool) -> None:
    settings: dict[str, Any] = {"early_stopping": early_stopping, "validation_fraction": 0.2}
    x, y, weights = given(X), given(TARGETS[task]), given(WEIGHTS)
    found = make(task, **settings).fit(x, y, sample_weight=weights)
    expected = make(task, device="cpu", **settings).fit(X, TARGETS[task], sample_weight=WEIGHTS)
    check_equal(found, expected)
    assert (found.device_, found.n_features_in_) == ("cuda:0", 40)
    np.testing.assert_allclose(found.predict(x), expected.predict(X), rtol=1e-9)
    np.testing.assert_allclose(found.transform(x), expected.transform(X), rtol=1e-9)
    assert found.score(x, y, weights) == pytest.approx(expected.score(X, TARGETS[task], WEIGHTS))
    if hasattr(found, "predict_proba"):
        np.testing.assert_allclose(found.predict_proba(x), expected.predict_proba(X), rtol=1e-9)
        np.testing.assert_allclose(found.predict_log_proba(x), expected.predict_log_proba(X), rtol=1e-9)
    # Coefficients, outputs and hidden units come to the host; the table does not.
    assert x.gets == 0
    assert 0 < max(watch.sizes) < X.size / 4


def test_the_watch_sees_a_table_that_leaves_the_device(watch: Watch) -> None:
    """The control."""
    x = given(X)
    make("regression", device="cpu").fit(x, TARGETS["regression"])
    assert x.gets == 1
    gpu_mlp.Network((40, 2), device="cuda").ops.to_host(x.memory)
    assert max(watch.sizes) == X.size
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)


def test_lbfgs_and_class_weights_take_them(watch: Watch) -> None:
    settings: dict[str, Any] = {"solver": "lbfgs", "class_weight": "balanced"}
    y = given(TARGETS["multi-class"])
    found = make("multi-class", **settings).fit(given(X), y)
    check_equal(found, make("multi-class", device="cpu", **settings).fit(X, TARGETS["multi-class"]))


def test_partial_fit_and_a_warm_start_go_on(watch: Watch) -> None:
    for task in ("multi-class", "multi-output"):
        y = TARGETS[task]
        found, expected = make(task, warm_start=True), make(task, device="cpu", warm_start=True)
        more = {"classes": given(np.unique(y))}, {"classes": np.unique(y)}
        if task == "multi-output":
            more = {}, {}
        for rows in (slice(None), slice(0, 60), slice(20, 90)):
            found.partial_fit(given(X[rows]), given(y[rows]), **more[0])
            expected.partial_fit(X[rows], y[rows], **more[1])
        check_equal(found, expected)
        check_equal(found.fit(given(X), given(y)), expected.fit(X, y))


def test_a_model_moves_to_another_device_and_goes_on(watch: Watch) -> None:
    for solver in ("adam", "sgd"):
        y = TARGETS["multi-class"]
        moving, staying = (make("multi-class", device="cpu", solver=solver) for _ in range(2))
        for device in ("cpu", "cuda", "cuda", "cpu", "cuda"):
            moving.set_params(device=device).partial_fit(X, y, classes=np.unique(y))
            staying.partial_fit(X, y, classes=np.unique(y))
            assert moving.device_.startswith(device)
            check_equal(moving, staying)
            np.testing.assert_allclose(moving.predict_proba(X), staying.predict_proba(X), rtol=1e-9)
        assert moving.set_params(device="cpu").predict_proba(X).shape == (90, 3)
        assert moving.device_ == "cpu"


def test_rows_of_ones_own_are_validated_on_where_they_are(watch: Watch) -> None:
    held_out = slice(60, None)
    for task in ("multi-class", "regression"):
        y, x_val = TARGETS[task], given(X[held_out])
        found = make(task).fit(given(X), given(y), X_val=x_val, y_val=given(y[held_out]))
        expected = make(task, device="cpu").fit(X, y, X_val=X[held_out], y_val=y[held_out])
        check_equal(found, expected)
        assert x_val.gets == 0


def test_an_estimator_on_the_cpu_fetches_them(watch: Watch) -> None:
    x, y = given(X), given(TARGETS["regression"])
    found = make("regression", device="cpu").fit(x, y)
    check_equal(found, make("regression", device="cpu").fit(X, TARGETS["regression"]))
    np.testing.assert_array_equal(found.predict(x), found.predict(X))


def test_types_are_scikit_learns(watch: Watch) -> None:
    """float32 stays, whole numbers and halves become float64."""
    y = TARGETS["regression"]
    for given_type, type_ in (
        ("float32", "float32"),
        ("float64", "float64"),
        ("int32", "float64"),
        ("float16", "float64"),
    ):
        found = make("regression").fit(given((X * 5).astype(given_type)), y)
        assert {str(each.dtype) for each in found.coefs_} == {type_}


def bad(value: float) -> Any:
    """X with one of its values replaced."""
    x = X.copy()
    x[71, 3] = value
    return x


BAD: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "NaN": lambda make, on: make().fit(on(bad(np.nan)), TARGETS["regression"]),
    "infinity": lambda make, on: make().fit(on(bad(-np.inf)), TARGETS["regression"]),
    "infinity in float32": lambda make, on: make().fit(on(bad(np.inf).astype(np.float32)), TARGETS["regression"]),
    "infinity in float16": lambda make, on: make().fit(on(bad(np.inf).astype(np.float16)), TARGETS["regression"]),
    "NaN to predict": lambda make, on: make().fit(on(X), TARGETS["regression"]).predict(on(bad(np.nan))),
    "NaN in y": lambda make, on: make().fit(on(X), on(bad(np.nan)[:, 3])),
    "other rows of y": lambda make, on: make().fit(on(X), on(TARGETS["regression"][1:])),
    "no y": lambda make, on: make().fit(on(X), None),
    "other features": lambda make, on: make().fit(on(X), TARGETS["regression"]).predict(on(X[:, 1:])),
    "other features in partial_fit": lambda make, on: make()
    .partial_fit(on(X), TARGETS["regression"])
    .partial_fit(on(X[:, 1:]), TARGETS["regression"]),
    "1-d": lambda make, on: make().fit(on(X[:5, 0]), TARGETS["regression"][:5]),
    "3-d": lambda make, on: make().fit(on(X[:, :, None]), TARGETS["regression"]),
    "no rows": lambda make, on: make().fit(on(X[:0]), TARGETS["regression"][:0]),
    "no features": lambda make, on: make().fit(on(X[:, :0]), TARGETS["regression"]),
    "complex numbers": lambda make, on: make().fit(on(X[:2] * 1j), TARGETS["regression"][:2]),
    "rows of the weights": lambda make, on: make().fit(on(X), TARGETS["regression"], sample_weight=on(WEIGHTS[1:])),
    "predict before fit": lambda make, on: make().predict(on(X)),
}  # fmt: skip


@pytest.mark.parametrize("call", BAD.values(), ids=BAD)
def test_refusals_are_those_of_the_host(watch: Watch, call: Callable[..., Any]) -> None:
    """And so scikit-learn's own words."""
    refusals = []
    for on, device in ((given, "cuda"), (np.asarray, "cpu")):
        with pytest.raises(ValueError, match=r".") as caught:
            call(lambda device=device: make("regression", device=device), on)
        assert not issubclass(caught.type, GpuMlpError)
        refusals.append((caught.type, str(caught.value)))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("task", TARGETS)
def test_a_real_gpus_arrays_are_taken(library: str, task: str) -> None:
    ops_or_skip("cuda")
    module: Any = pytest.importorskip(library)
    if library == "torch" and not module.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    on = module.asarray if library == "cupy" else lambda array: module.as_tensor(array, device="cuda")
    y = TARGETS[task]
    for early_stopping in (False, True):
        settings: dict[str, Any] = {"early_stopping": early_stopping, "validation_fraction": 0.2}
        found = make(task, **settings).fit(on(X), on(y), sample_weight=on(WEIGHTS))
        expected = make(task, device="cpu", **settings).fit(X, y, sample_weight=WEIGHTS)
        for actual, other in zip(found.coefs_, expected.coefs_, strict=True):
            np.testing.assert_allclose(actual, other, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.transform(on(X)), expected.transform(X), rtol=1e-6, atol=1e-8)
        assert found.score(on(X), on(y), on(WEIGHTS)) == pytest.approx(expected.score(X, y, WEIGHTS))
    given_rows = make(task).fit(on(X), on(y), X_val=on(X[:30]), y_val=on(y[:30]))
    assert len(given_rows.validation_scores_) == 4
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        given_rows.predict(on(bad(np.nan)))
