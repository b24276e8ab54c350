"""What `fit_table` chooses and is told: the task, the loss, columns to ignore, parts of the rows, and its refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp import fit_choices
from gpu_mlp.backends.base import LOSS_NAMES
from gpu_mlp.backends.fused.products import DotProducts
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import split_rows
from gpu_mlp.errors import ConfigError, DataError, DeviceError, DivergenceError, GpuMlpError
from gpu_mlp.fit_plan import FitPlan
from gpu_mlp.fitting import plan_fit
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.model import CLASSIFICATION_LOSSES
from tests.data.refusals import refused
from tests.files.models import parameter_bits
from tests.people import features_and, people

CONFIG = TrainingConfig(epochs=2, batch_size=16)


def plan(target: str, source: Any = None, **settings: Any) -> FitPlan:
    """For the table of people, or another source."""
    return plan_fit(
        features_and(target) if source is None else source,
        target,
        device="cpu",
        **{"config": CONFIG} | settings,
    )


@pytest.mark.parametrize(
    ("target", "task", "classes", "reason"),
    [
        ("grade", "classification", ("high", "low", "middle"), "column 'grade' holds text"),
        ("member", "classification", (False, True), "holds true and false"),
        ("level", "classification", (0, 1, 2, 3), "holds 4 different whole numbers in 120 rows"),
        ("income", "regression", (), "holds decimal numbers"),
    ],
)
def test_the_task_and_the_loss_follow_from_the_column(
    target: str, task: str, classes: Any, reason: str
) -> None:
    made = plan(target)
    assert (made.target.task, made.target.classes) == (task, classes)
    assert reason in made.reason
    loss = "softmax_cross_entropy" if task == "classification" else "squared_error"
    assert made.loss.name == made.config.loss == loss
    assert made.metric_name == ("accuracy" if task == "classification" else "RMSE")
    assert made.network_config.layer_sizes[-1] == (len(classes) or 1)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_a_loss_that_is_asked_for_decides_the_task(loss: str) -> None:
    """Whole numbers can be either."""
    source = {**features_and("grade"), "grade": np.arange(120) % 2}
    made = plan("grade", source, config=replace(CONFIG, loss=loss))
    task = "classification" if loss in CLASSIFICATION_LOSSES else "regression"
    assert made.target.task == task
    assert made.reason == f"the loss {loss} is one of {task}"
    assert made.loss.name == loss
    assert set(made.run().test_metrics) >= ({"accuracy"} if task == "classification" else {"rmse"})


def test_a_task_that_is_asked_for_is_taken() -> None:
    made = plan("level", task="regression")
    assert (made.target.task, made.loss.name) == ("regression", "squared_error")
    assert made.reason == "the task regression was asked for"
    assert plan("level", task="classification").loss.name == "softmax_cross_entropy"


def test_the_losss_settings_reach_the_model() -> None:
    config = replace(CONFIG, loss="huber", huber_delta=0.25)
    assert plan("income", config=config).run().model.loss == gpu_mlp.Loss("huber", huber_delta=0.25)


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_loss_of_the_other_task_is_refused(loss: str, task: str) -> None:
    source = {**features_and("grade"), "grade": np.arange(120) % 2}
    config = replace(CONFIG, loss=loss)
    if (loss in CLASSIFICATION_LOSSES) == (task == "classification"):
        assert plan("grade", source, task=task, config=config).loss.name == loss
        return
    with refused(f"the loss {loss} does not fit a {task}; choose a loss such as", error=ConfigError):
        plan("grade", source, task=task, config=config)


def test_ignored_columns_are_never_read_here_or_later() -> None:
    source = features_and("grade")
    expected = plan("grade", source).run()
    noisy = {**source, "junk": [b"?"] * 120, "gaps": [None] * 120, "leak": list(source["grade"])}
    result = plan("grade", noisy, ignore=("junk", "gaps", "leak")).run()
    assert parameter_bits(result.model) == parameter_bits(expected.model)
    assert result.model.ignored == ("junk", "gaps", "leak")
    for table in (source, noisy):
        assert result.model.evaluate(table) == expected.model.evaluate(source)


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.2), (0.2, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("target", ["grade", "income"])
def test_parts_of_no_rows_have_no_metrics(target: str, validation: float, test: float) -> None:
    result = plan(target, validation=validation, test=test).run()
    assert bool(result.validation_metrics) == (validation > 0)
    assert bool(result.test_metrics) == (test > 0)
    assert result.training_metrics
    assert (result.history[-1].validation_loss is None) == (validation == 0)
    assert (result.history[-1].validation_metric is None) == (validation == 0)
    rows = {
        "train": 120 - round(120 * (validation + test)),
        "validation": 120 * validation,
        "test": 120 * test,
    }
    assert result.model.metadata["rows"] == rows


def test_without_validation_patience_looks_at_the_training_loss() -> None:
    config = TrainingConfig(epochs=40, batch_size=16, learning_rate=0.05, patience=2)
    history = plan("grade", validation=0, config=config).run().history
    assert history.losses[history.best_epoch - 1] == min(history.losses)
    assert len(history) in (40, history.best_epoch + 2)


def test_one_row_of_each_part_is_enough() -> None:
    source = {"x": [1.0, 2.0, 4.0], "y": [0.5, 1.5, 2.5]}
    result = plan("y", source, validation=0.3, test=0.3).run()
    assert set(result.test_metrics) == {"rmse", "mae"}


class NeverCalled(Callback):
    """Fails where training begins."""

    def on_train_begin(self, run: RunView) -> None:
        raise AssertionError("training began")


def with_value(column: str, row: int, value: Any, target: str = "grade") -> dict[str, Any]:
    """The table with one value changed."""
    source = {name: list(values) for name, values in features_and(target).items()}
    source[column][row] = value
    return source


# What is wrong: the target, the table (None: the people), the arguments, the error, and a part of its sentence.
REFUSED: list[tuple[str, str, Any, dict[str, Any], type[GpuMlpError], str]] = [
    ("no such target", "grad", None, {}, DataError, "has no column 'grad'; did you mean 'grade'?"),
    ("the target ignored", "grade", None, {"ignore": ["grade"]}, ConfigError, "both the target and ignored"),
    ("ignored but absent", "grade", None, {"ignore": ["ages"]}, DataError, "no column 'ages' to ignore; did you"),
    ("nothing left", "y", {"y": [1, 2] * 9, "x": [1] * 18}, {"ignore": ["x"]}, DataError, "no feature columns"),
    ("an unknown task", "grade", None, {"task": "clasification"}, ConfigError, "did you mean 'classification'?"),
    ("text in a regression", "grade", None, {"task": "regression"}, DataError, "a regression needs numbers"),
    ("an unknown activation", "grade", None, {"activation": "rleu"}, ConfigError, "did you mean 'relu'?"),
    ("too few activations", "grade", None, {"activation": ["relu"]}, ConfigError, "activation names 1 layers"),
    ("an unknown initializer", "grade", None, {"initializer": "he"}, ConfigError, "initializer 'he' is unknown"),
    ("a layer of no units", "grade", None, {"hidden_layer_sizes": (0,)}, ConfigError, "is 0, but must be a whole"),
    ("an unknown type", "grade", None, {"dtype": "float16"}, ConfigError, "dtype 'float16' is unknown"),
    ("a negative seed", "grade", None, {"seed": -1}, ConfigError, "seed is -1"),
    ("parts too large", "grade", None, {"validation": 0.6, "test": 0.4}, ConfigError, "no rows to train on"),
    ("a part out of range", "grade", None, {"test": 1.5}, ConfigError, "--test is 1.5"),
    ("too few rows", "y", {"y": ["a", "b"], "x": [1, 2]}, {}, DataError, "needs at least 3"),
    ("one class", "y", {"y": ["a"] * 9, "x": [1] * 9}, {}, DataError, "the one class 'a'"),
    ("3 classes, 1 logit", "grade", None, {"config": TrainingConfig(loss="binary_cross_entropy")}, ConfigError,
     "binary_cross_entropy tells 2 classes apart, but column 'grade' has 3; use softmax"),
    ("negative counts", "visits", with_value("visits", 9, -1, "visits"), {"config": TrainingConfig(loss="poisson")},
     DataError, "row 10, column 'visits' holds -1, but a count is 0 or more"),
    ("no label", "grade", with_value("grade", 30, None), {}, DataError, "row 31, column 'grade' has no value"),
    ("an infinity", "grade", with_value("height", 50, np.inf), {}, DataError, "row 51, column 'height' holds inf"),
    ("an empty column", "grade", {**features_and("grade"), "e": [None] * 120}, {}, DataError, "no values at all"),
    ("no file", "grade", "none.csv", {}, DataError, "none.csv does not exist"),
    ("no table", "grade", 3, {}, DataError, "a int cannot be read as a table"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "source", "settings", "error", "part"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_what_cannot_be_fitted_is_refused_before_anything_is_trained(
    target: str, source: Any, settings: dict[str, Any], error: type[GpuMlpError], part: str
) -> None:
    source = features_and("visits" if target == "visits" else "grade") if source is None else source
    with refused(part, error=error):
        gpu_mlp.fit_table(source, target, device="cpu", callbacks=[NeverCalled()], **settings)


def test_a_row_that_is_only_tested_is_refused_before_anything_is_trained() -> None:
    """The rows held out are prepared first: a value far from the training rows is found in them."""
    split = plan("grade").split
    for rows in (split.test, split.validation, split.train):
        row = int(rows[0])
        with refused(f"row {row + 1}, column 'height' holds inf"):
            source = with_value("height", row, np.inf)
            gpu_mlp.fit_table(source, "grade", device="cpu", callbacks=[NeverCalled()])
    far = {name: values for name, values in features_and("grade").items() if name in ("grade", "city")}
    far["x"] = np.full(120, 1.0)
    far["x"][split.train] += np.linspace(0, 1e-6, len(split.train))
    far["x"][split.test[0]] = 3e38
    with refused(f"row {split.test[0] + 1}, column 'x' holds 3e+38, too far from the training rows"):
        gpu_mlp.fit_table(far, "grade", device="cpu", callbacks=[NeverCalled()])


def test_training_begins_where_nothing_is_wrong() -> None:
    """The negative control of the two tests above."""
    with pytest.raises(AssertionError, match="training began"):
        gpu_mlp.fit_table(features_and("grade"), "grade", device="cpu", callbacks=[NeverCalled()])


def test_settings_are_refused_before_a_table_is_read() -> None:
    with refused("did you mean 'relu'?", error=ConfigError):
        gpu_mlp.fit_table("none.csv", "grade", activation="rleu")
    with pytest.raises((ConfigError, DeviceError), match="tpu"):
        gpu_mlp.fit_table("none.csv", "grade", device="tpu")


def test_a_training_that_diverges_says_so() -> None:
    config = TrainingConfig(epochs=5, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        plan("income", config=config).run()


def test_every_other_column_is_a_feature() -> None:
    """Also what might have been a target."""
    made = plan("grade", people())
    assert made.preparation.input_names == tuple(name for name in people() if name != "grade")


@pytest.mark.parametrize("value", [3.5, "red"])
def test_a_column_without_a_value_in_the_training_rows_is_said_to_have_some_elsewhere(value: object) -> None:
    rows = 40
    train = split_rows(rows, None, validation=0.15, test=0.15, seed=0).train
    for row in range(rows):
        table = {
            "s": [value if number == row else None for number in range(rows)],
            "x": [0.5 * number for number in range(rows)],
            "y": [1.5 * number for number in range(rows)],
        }
        if row in train:
            plan_fit(table, "y", device="cpu", seed=0)
            continue
        with refused(
            "column 's' has no value in the 28 training rows (1 in the whole table)", "--ignore 's'"
        ):
            plan_fit(table, "y", device="cpu", seed=0)


def test_a_precision_that_the_device_lacks_is_refused_before_the_table_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ops = replace(numpy_ops(), in_precision=DotProducts(np).in_precision)
    monkeypatch.setattr(fit_choices, "device_ops", lambda device: ops)
    with pytest.raises(DeviceError, match="precision 'bf16' on CUDA needs cuBLASLt"):
        plan("grade", "no such file.csv", config=TrainingConfig(precision="bf16"))
    with pytest.raises(DataError, match="no such file"):
        plan("grade", "no such file.csv")
