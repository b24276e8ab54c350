"""Pickles and joblib files: loaded in another process, and of a GPU's model on a machine without one."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.backends import cuda_backend
from gpu_mlp.errors import DeviceError
from tests.estimators.device_arrays import install
from tests.test_package import REPOSITORY

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.array(["ash", "oak", "yew"])[np.digitize(X[:, 0], [-0.4, 0.4])]

PREDICT = """
import pickle, sys
from pathlib import Path
import joblib, numpy as np
folder = Path(sys.argv[1])
x = np.load(folder / "x.npy")
for load, suffix in ((lambda file: pickle.loads(file.read_bytes()), "pickle"), (joblib.load, "joblib")):
    for name in ("classifier", "regressor"):
        estimator = load(folder / f"{name}.{suffix}")
        np.save(folder / f"{name}.{suffix}.npy", estimator.predict(x))
        estimator.partial_fit(x, np.load(folder / f"{name}-y.npy"))
        np.save(folder / f"{name}.{suffix}.coefs.npy", estimator.coefs_[0])
"""


def make(**settings: Any) -> tuple[gpu_mlp.MLPClassifier, gpu_mlp.MLPRegressor]:
    """Both, fitted to the same rows."""
    quick: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, "device": "cpu"}
    quick |= settings
    classifier = gpu_mlp.MLPClassifier(**quick).fit(X, LABELS)
    return classifier, gpu_mlp.MLPRegressor(**quick).fit(X, X[:, 0])


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_another_process_goes_on_where_this_one_was(tmp_path: Path, solver: str) -> None:
    estimators = dict(zip(("classifier", "regressor"), make(solver=solver), strict=True))
    np.save(tmp_path / "x.npy", X)
    for name, y in (("classifier", LABELS), ("regressor", X[:, 0])):
        np.save(tmp_path / f"{name}-y.npy", y)
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps(estimators[name]))
        joblib.dump(estimators[name], tmp_path / f"{name}.joblib")
    command = [sys.executable, "-W", "error", "-c", PREDICT, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, y in (("classifier", LABELS), ("regressor", X[:, 0])):
        expected = estimators[name].predict(X)
        estimators[name].partial_fit(X, y)
        for suffix in ("pickle", "joblib"):
            np.testing.assert_array_equal(np.load(tmp_path / f"{name}.{suffix}.npy"), expected)
            coefs = np.load(tmp_path / f"{name}.{suffix}.coefs.npy")
            np.testing.assert_allclose(coefs, estimators[name].coefs_[0], rtol=1e-12)


@pytest.fixture
def fitted_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Pickles of models of a machine with a GPU, on one without: their devices, and what they predicted."""
    with monkeypatch.context() as patch:
        install(patch)
        pickles = {}
        for device in ("cuda", "cuda:0"):
            classifier, regressor = make(device=device)
            assert classifier.device_ == "cuda:0"
            found = classifier.predict_proba(X), regressor.predict(X), regressor.transform(X)
            pickles[device] = pickle.dumps((classifier, regressor, found))

    def missing(index: int) -> Any:
        raise DeviceError("a CUDA device was asked for, but there is none")

    monkeypatch.setattr(cuda_backend, "cuda_ops", missing)
    return pickles


def test_a_gpus_model_predicts_on_the_cpu_where_there_is_none(
    fitted_on_a_gpu: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    for kept in fitted_on_a_gpu.values():
        classifier, regressor, found = pickle.loads(kept)
        assert classifier.device_ == "cuda:0"
        with caplog.at_level(logging.WARNING, "gpu_mlp"):
            for _ in range(2):
                np.testing.assert_allclose(classifier.predict_proba(X), found[0], rtol=1e-12)
        assert caplog.messages == [
            "a model that was fitted on a GPU predicts on the CPU: a CUDA device was asked for, but there is none"
        ]
        assert classifier.device_ == "cpu"
        np.testing.assert_allclose(regressor.predict(X), found[1], rtol=1e-12)
        np.testing.assert_allclose(regressor.transform(X), found[2], rtol=1e-12)
        assert 0.0 < classifier.score(X, LABELS) <= 1.0
        # And on, when it is kept again.
        again = pickle.loads(pickle.dumps(classifier))
        np.testing.assert_allclose(again.predict_proba(X), found[0], rtol=1e-12)
        caplog.clear()


def test_it_does_not_train_there_unless_it_is_told_to(fitted_on_a_gpu: dict[str, bytes]) -> None:
    classifier, regressor, _ = pickle.loads(fitted_on_a_gpu["cuda"])
    for train in (classifier.partial_fit, classifier.fit):
        classifier.predict(X)
        with pytest.raises(DeviceError, match="a CUDA device was asked for, but there is none"):
            train(X, LABELS)
    expected = regressor.predict(X)
    regressor.set_params(device="cpu", warm_start=True)
    np.testing.assert_array_equal(regressor.predict(X), expected)
    regressor.fit(X, X[:, 0])
    assert regressor.device_ == "cpu"
    # From now on it is a model of the CPU's, for which "cuda" is a wish like any other.
    with pytest.raises(DeviceError):
        regressor.set_params(device="cuda").predict(X)


def test_a_gpus_coefficients_cannot_be_edited_unseen_and_a_copys_can(
    fitted_on_a_gpu: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, _, _ = pickle.loads(fitted_on_a_gpu["cuda"])
    kept.coefs_[-1][...] = 0.0
    kept.intercepts_[-1][...] = 0.0
    np.testing.assert_allclose(kept.predict_proba(X), 1 / 3)
    monkeypatch.undo()
    install(monkeypatch)
    there, _ = make(device="cuda")
    with pytest.raises(ValueError, match="read-only"):
        there.coefs_[0][...] = 0.0
    there.coefs_ = [np.zeros_like(each) for each in there.coefs_]
    there.intercepts_[-1] = np.log([0.2, 0.3, 0.5])
    np.testing.assert_allclose(there.predict_proba(X[:1]), [[0.2, 0.3, 0.5]])


def test_coefficients_alone_are_a_model() -> None:
    """Attributes that were written by hand, as from a file of one's own."""
    fitted, _ = make()
    other = gpu_mlp.MLPClassifier(hidden_layer_sizes=(5,), device="cpu")
    for name in ("coefs_", "intercepts_", "n_outputs_", "out_activation_", "n_features_in_", "classes_"):
        setattr(other, name, getattr(fitted, name))
    other._label_binarizer = fitted._label_binarizer
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
