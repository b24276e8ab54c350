"""`fit_table`: repeatable to the bit, blind to the rows held out, and as good as scikit-learn where both can be."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor

import gpu_mlp
from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import Preparation, Target, load_demo, read_table
from gpu_mlp.fit_plan import FitResult
from gpu_mlp.fitting import plan_fit
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch
from tests.files.models import parameter_bits
from tests.people import TARGETS, features_and

CONFIG = TrainingConfig(epochs=4, batch_size=16, seed=3)


def fit(target: str = "grade", **settings: Any) -> FitResult:
    """Of the table of people, or of another `source`, in a small network."""
    defaults: dict[str, Any] = {"hidden_layer_sizes": (8, 5), "config": CONFIG, "device": "cpu"}
    source = settings.pop("source", None)
    return gpu_mlp.fit_table(
        features_and(target) if source is None else source, target, **defaults | settings
    )


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_seed_gives_the_same_bits_and_metrics(target: str) -> None:
    settings = {"config": replace(CONFIG, dropout=0.1)}
    first = fit(target, **settings)
    np.random.random(3)  # NumPy's global state is not to matter
    again = fit(target, **settings)
    assert parameter_bits(first.model) == parameter_bits(again.model)
    for part in ("training_metrics", "validation_metrics", "test_metrics"):
        assert getattr(first, part) == getattr(again, part) != {}
    assert first.history.losses == again.history.losses
    other = fit(target, **settings, seed=4)
    assert parameter_bits(first.model) != parameter_bits(other.model)
    assert first.split.test.tolist() != other.split.test.tolist()


def test_the_seed_is_the_configurations_unless_it_is_given() -> None:
    assert parameter_bits(fit(seed=3).model) == parameter_bits(fit().model)
    from_config, given = fit(config=replace(CONFIG, seed=8)), fit(seed=8)
    assert parameter_bits(from_config.model) == parameter_bits(given.model)
    assert given.model.network.config.seed == given.model.metadata["config"]["seed"] == 8


def test_a_plan_can_be_run_again() -> None:
    plan = plan_fit(features_and("income"), "income", config=CONFIG, device="cpu")
    assert parameter_bits(plan.run().model) == parameter_bits(plan.run().model)


def changed(source: dict[str, Any], rows: Any, *, target: str) -> dict[str, Any]:
    """The table with the features of these rows, and a regression's values, drastically changed."""
    result = {name: list(values) for name, values in source.items()}
    for row in np.asarray(rows).tolist():
        result["age"][row] = 1e6
        result["height"][row] = None
        result["city"][row] = f"Nowhere {row}"
        result["married"][row] = not result["married"][row]
        result["born"][row] = datetime.date(2500, 1, 1)
        if target == "income":
            result["income"][row] = -1e7
    return result


@pytest.mark.parametrize("target", ["grade", "income"])
def test_rows_held_out_influence_neither_the_preparation_nor_the_weights(target: str) -> None:
    source = features_and(target)
    first = fit(target)
    for rows in (first.split.test, first.split.validation):
        again = fit(target, source=changed(source, rows, target=target))
        assert again.split.train.tolist() == first.split.train.tolist()
        assert again.model.preparation == first.model.preparation
        assert again.model.target == first.model.target
        assert parameter_bits(again.model) == parameter_bits(first.model)
        assert again.training_metrics == first.training_metrics
    assert again.validation_metrics != first.validation_metrics  # while the change is seen where it is to be


@pytest.mark.parametrize("target", ["grade", "income"])
def test_a_training_row_influences_them(target: str) -> None:
    """The negative control of the test above."""
    first = fit(target)
    again = fit(target, source=changed(features_and(target), first.split.train[:1], target=target))
    assert again.model.preparation != first.model.preparation
    assert parameter_bits(again.model) != parameter_bits(first.model)
    assert (again.model.target != first.model.target) == (target == "income")


@pytest.mark.parametrize("target", TARGETS)
def test_preparation_and_target_are_those_of_the_training_rows(target: str) -> None:
    result = fit(target)
    table = read_table(features_and(target))
    training = table.select(result.split.train)
    assert result.model.preparation == Preparation.fit(training, [n for n in table.names if n != target])
    if result.model.task == "regression":
        assert result.model.target == Target.fit(training, target, "regression")
        values = np.asarray(table.column(target))[result.split.train]
        assert result.model.target is not None
        assert (result.model.target.mean, result.model.target.scale) == pytest.approx(
            (values.mean(), values.std()), rel=1e-12
        )
    else:
        assert set(result.model.classes) == set(features_and(target)[target])


@pytest.mark.parametrize("target", TARGETS)
def test_metrics_are_the_models_on_the_rows_of_each_part(target: str) -> None:
    result = fit(target)
    source = features_and(target)
    table = read_table(source)
    parts = (result.split.train, result.split.validation, result.split.test)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(120))
    found = (result.training_metrics, result.validation_metrics, result.test_metrics)
    for rows, metrics in zip(parts, found, strict=True):
        assert metrics == result.model.evaluate(table.select(rows))
    last = result.history[-1]
    if result.model.task == "regression":
        assert last.validation_metric == pytest.approx(result.validation_metrics["rmse"], rel=1e-5)
    else:
        assert last.validation_metric == result.validation_metrics["accuracy"]
        assert last.validation_loss == pytest.approx(result.validation_metrics["log_loss"], rel=1e-5)


def test_the_network_has_the_sizes_of_the_prepared_table() -> None:
    result = fit("grade", hidden_layer_sizes=(7, 2), activation=["tanh", "gelu"], dtype="float64")
    net = result.model.network
    assert result.model.preparation is not None
    outputs = [
        "age",
        "age is missing",
        "height",
        "city=Bern",
        "city=Köln",
        "city is missing",
        "married",
        "born",
    ]
    assert list(result.model.preparation.output_names) == outputs
    assert (net.layer_sizes, net.activations, net.dtype) == ((8, 7, 2, 3), ("tanh", "gelu"), "float64")
    assert fit("income", hidden_layer_sizes=()).model.network.layer_sizes == (8, 1)
    assert (
        fit("member", config=replace(CONFIG, loss="binary_cross_entropy")).model.network.layer_sizes[-1] == 1
    )


def test_the_best_epochs_weights_are_kept_where_there_is_patience() -> None:
    """The same as a run that ends there."""
    config = TrainingConfig(epochs=60, batch_size=8, learning_rate=0.03, patience=3)
    result = fit("grade", config=config)
    best = result.history.best_epoch
    assert best < len(result.history) < 60
    assert len(result.history) == best + 3
    losses = [epoch.validation_loss for epoch in result.history]
    assert int(np.argmin(np.array(losses))) + 1 == best
    assert result.validation_metrics["log_loss"] == pytest.approx(losses[best - 1], rel=1e-5)
    until = fit("grade", config=replace(config, epochs=best, patience=None))
    assert parameter_bits(until.model) == parameter_bits(result.model)
    assert (result.model.metadata["best_epoch"], result.model.metadata["epochs"]) == (best, best + 3)
    assert result.model.metadata["stopped"] == result.history.stopped == "no improvement for 3 epochs"


class Listener(Callback):
    """Keeps what it hears, and stops after two epochs."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_train_begin(self, run: RunView) -> None:
        self.heard.append(f"begin {run.rows} rows")

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        self.heard.append(f"epoch {epoch.epoch}")
        if epoch.epoch == 2:
            run.stop("enough")


def test_callbacks_hear_of_the_training_and_can_end_it() -> None:
    listener = Listener()
    result = fit(callbacks=[listener])
    assert listener.heard == [f"begin {len(result.split.train)} rows", "epoch 1", "epoch 2"]
    assert (len(result.history), result.history.stopped) == (2, "enough")
    assert result.test_metrics  # a run that was stopped is evaluated all the same


def test_a_table_is_fitted_to_the_same_bits_in_every_form(tmp_path: Path) -> None:
    source = features_and("grade")
    frame = pd.DataFrame(source)
    frame.to_csv(tmp_path / "people.csv", index=False)
    frame.to_parquet(tmp_path / "people.parquet")
    expected = parameter_bits(fit("grade").model)
    for form in (frame, tmp_path / "people.csv", str(tmp_path / "people.parquet"), read_table(source)):
        result = fit("grade", source=form)
        assert parameter_bits(result.model) == expected
        assert result.model.evaluate(form) == result.model.evaluate(source)


def test_the_summary_is_plain_data_and_names_no_place(tmp_path: Path) -> None:
    pd.DataFrame(features_and("income")).to_csv(tmp_path / "people.csv", index=False)
    result = fit("income", source=tmp_path / "people.csv")
    summary = result.model.metadata
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["table"] == "people.csv"
    assert str(tmp_path) not in json.dumps(summary)
    assert summary["rows"] == {"train": 84, "validation": 18, "test": 18}
    assert summary["metrics"] == {
        "train": result.training_metrics,
        "validation": result.validation_metrics,
        "test": result.test_metrics,
    }
    assert TrainingConfig(**summary["config"]) == replace(CONFIG, loss="squared_error")
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(summary["created"])
    assert datetime.timedelta(seconds=-1) <= age < datetime.timedelta(minutes=5)
    assert summary["versions"]["gpu_mlp"] == gpu_mlp.__version__
    gpu_mlp.save(result.model, tmp_path / "m.safetensors")
    assert gpu_mlp.load(tmp_path / "m.safetensors", "cpu").metadata == summary


def test_a_linear_regression_agrees_with_scikit_learns() -> None:
    source = {name: features_and("income")[name] for name in ("height", "married", "income")}
    config = TrainingConfig(epochs=400, batch_size=1000, learning_rate=0.5, optimizer="sgd")
    result = fit("income", source=source, hidden_layer_sizes=(), config=config, dtype="float64")
    x = np.column_stack([source["height"], source["married"]])
    train = result.split.train
    reference = LinearRegression().fit(x[train], source["income"][train])
    np.testing.assert_allclose(result.model.predict(source), reference.predict(x), rtol=1e-9)
    rows = result.split.test
    assert result.test_metrics["r2"] == pytest.approx(
        reference.score(x[rows], source["income"][rows]), rel=1e-9
    )


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy"])
def test_a_logistic_regression_agrees_with_scikit_learns(loss: str) -> None:
    source = {name: features_and("member")[name] for name in ("height", "married", "member")}
    config = TrainingConfig(epochs=1500, batch_size=1000, learning_rate=0.5, optimizer="sgd", loss=loss)
    result = fit("member", source=source, hidden_layer_sizes=(), config=config, dtype="float64")
    x = np.column_stack([(source["height"] - 170) / 9, source["married"]])
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(x[result.split.train], source["member"][result.split.train])
    np.testing.assert_allclose(
        result.model.predict_proba(source), reference.predict_proba(x), rtol=1e-4, atol=1e-6
    )
    assert result.model.predict(source).tolist() == reference.predict(x).tolist()


def test_a_poisson_regression_agrees_with_scikit_learns() -> None:
    source = {name: features_and("visits")[name] for name in ("height", "married", "visits")}
    config = TrainingConfig(epochs=1500, batch_size=1000, learning_rate=0.1, optimizer="sgd", loss="poisson")
    result = fit("visits", source=source, hidden_layer_sizes=(), config=config, dtype="float64")
    x = np.column_stack([(source["height"] - 170) / 9, source["married"]])
    train = result.split.train
    reference = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(x[train], source["visits"][train])
    np.testing.assert_allclose(result.model.predict(source), reference.predict(x), rtol=1e-5)
    assert result.model.target == Target("visits", "regression")  # not standardised


def test_a_poisson_network_starts_from_the_mean_count() -> None:
    """A feature that is constant prepares to 0, so that only the bias is left."""
    source = {"x": [1.0] * 100, "y": np.arange(100) * 10_000}
    config = TrainingConfig(epochs=1, learning_rate=1e-12, loss="poisson")
    result = fit("y", source=source, config=config, dtype="float64", validation=0, test=0)
    np.testing.assert_allclose(result.model.predict(source), 495_000.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("demo", "metric", "least"),
    [
        ("iris", "accuracy", 0.9),
        ("wine", "accuracy", 0.9),
        ("breast-cancer", "roc_auc", 0.98),
        ("digits", "accuracy", 0.94),
        ("diabetes", "r2", 0.2),
    ],
)
def test_scikit_learns_tables_are_learnt(demo: str, metric: str, least: float) -> None:
    table, target, _ = load_demo(demo)
    config = TrainingConfig(epochs=60, batch_size=32, learning_rate=3e-3, patience=10)
    result = fit(target, source=table, hidden_layer_sizes=(32,), config=config)
    assert result.test_metrics[metric] >= least
    assert result.history[-1].loss < result.history[0].loss / 2
