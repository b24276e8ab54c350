"""What `Model` refuses, and with which sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.config import Loss
from gpu_mlp.data import Preparation, Target, read_table
from gpu_mlp.errors import ConfigError, DataError, GpuMlpError, ShapeError
from gpu_mlp.model import Model
from tests.data.refusals import refused
from tests.files.models import KINDS, ROWS, array_model, random_network

TABLE = read_table({"a": [1.0, 2.0, 3.0, 5.0], "c": ["r", "g", "b", "g"], "y": ["no", "yes", "no", "yes"]})
PREPARATION = Preparation.fit(TABLE, ["a", "c"])
LABELS, VALUES = Target.fit(TABLE, "y"), Target.fit(read_table({"y": [1.5, 2.5]}), "y")


def classifier() -> Model:
    """Predicts y from a and c."""
    return Model(random_network((4, 3, 2)), Loss("softmax_cross_entropy"), LABELS, PREPARATION, ("id",))


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ({"a": [1.0]}, ["mapping lacks the column 'c' that training had; add it"]),
        ({"aa": [1.0], "c": ["r"]}, ["lacks the column 'a' that training had; rename 'aa' if that is it"]),
        ({"y": ["no"]}, ["lacks the columns 'a', 'c' that training had; add them"]),
        ({"a": [1.0], "c": ["r"], "z": [0]}, ["has the column 'z' that training did not have; remove it"]),
        ({"a": [1.0], "c": ["r"], "z": [0], "x": [0]}, ["columns 'z', 'x'", "remove them"]),
        ({"a": ["one"], "c": ["r"]}, ["mapping, row 1, column 'a' holds 'one'", "training had numbers"]),
        ({"a": [1.0, np.inf], "c": ["r", "r"]}, ["mapping, row 2, column 'a' holds inf", "finite"]),
        ({"a": [1e39], "c": ["r"]}, ["column 'a' holds 1e+39", "beyond float32"]),
        ({"a": [1.0], "c": [b"r"]}, ["column 'c' holds bytes"]),
        ({"a": [], "c": []}, ["no rows"]),
        ({"id": [1]}, ["mapping has no columns left"]),
        (np.ones((2, 2)), ["array lacks the columns 'a', 'c'"]),  # text cannot be told by position
        (np.ones(3), ["the array has shape (3,), but a table needs 2 axes"]),
        ([[1.0, 2.0]], ["a list cannot be read as a table"]),
        (None, ["a NoneType cannot be read as a table"]),
        ("none.csv", ["none.csv does not exist"]),
    ],
)
def test_tables_that_do_not_fit_are_refused_by_every_method(source: Any, parts: list[str]) -> None:
    model = classifier()
    for call in (model.predict, model.predict_proba, model.outputs, model.evaluate):
        with refused(*parts):
            call(source)


def test_a_wrong_value_in_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,c\n1,r\n\nx,g\n")
    with refused("rows.csv, line 4, column 'a' holds 'x'"):
        classifier().predict(tmp_path / "rows.csv")


def test_an_array_of_another_width_is_refused_with_the_order_of_the_features() -> None:
    table = read_table({"a": [1.0, 2.0], "b": [0.5, 1.5], "y": [1.5, 2.5]})
    model = Model(random_network((2, 1)), Loss("squared_error"), VALUES, Preparation.fit(table, ["a", "b"]))
    for width in (1, 3):
        with refused(f"the array has {width} columns, but training had 2 features ('a', 'b')"):
            model.predict(np.ones((4, width)))
    with refused("no column 'y'"):
        model.evaluate(np.ones((4, 2)))


def test_without_a_preparation_only_arrays_of_numbers_are_taken() -> None:
    model, _ = array_model("squared_error", (3, 1))
    for table in (TABLE, "rows.csv", Path("rows.csv")):
        with refused("this model was trained on bare arrays, so it takes a 2-D array, not a table"):
            model.predict(table)
    for array, part in [
        (np.ones(3), "the input has shape (3,), but the network takes (batch, 3)"),
        (np.ones((2, 4)), "the input has shape (2, 4), but the network takes (batch, 3)"),
        (np.array([["a"] * 3]), "the input has type <U1, but the network takes numbers"),
        (torch.ones((1, 3), requires_grad=True), "detach it from its graph"),
        ([[1.0, 2.0, 3.0], [1.0]], "give rows of the same length"),
    ]:
        with refused(part, error=ShapeError):
            model.predict(array)


def test_outputs_that_overflow_are_refused_with_the_first_such_row(tmp_path: Path) -> None:
    model, x = array_model("squared_error", (3, 4, 1))
    for value in (np.inf, np.nan, 1e39):
        wrong = x.copy()
        wrong[[7, 30], 1] = value
        with refused("row 7 of the array makes the network's output overflow float32; correct its values"):
            model.predict(wrong)
    table = classifier()
    (tmp_path / "rows.csv").write_text("c,a\nr,1\ng,3.3e38\n")
    table.network.weights[0][...] = 1e3
    with refused("rows.csv, line 3 makes the network's output overflow float32"):
        table.predict_proba(tmp_path / "rows.csv")
    wide, _ = array_model("squared_error", (3, 4, 1), dtype="float64")
    assert np.isfinite(wide.predict(np.full((1, 3), 1e39))).all()  # not in float64


@pytest.mark.parametrize("kind", ["regression", "counts", "several outputs", "linear"])
def test_a_regression_has_no_probabilities(kind: str) -> None:
    model, source = KINDS[kind]()
    with refused(
        f"a regression (loss {model.loss.name}) has no classes and no probabilities; use predict",
        error=ConfigError,
    ):
        model.predict_proba(source)


def test_an_evaluation_needs_its_targets() -> None:
    features = {"a": [1.0, 2.0], "c": ["r", "g"]}
    with refused("mapping has no column 'y'"):
        classifier().evaluate(features)
    bare, x = array_model("squared_error", (3, 1))
    with refused("this model has no target column; give the labels or values as y"):
        bare.evaluate(x)
    named = Model(random_network((3, 1)), Loss("squared_error"), VALUES)
    with refused("an array has no target column; give the labels or values as y"):
        named.evaluate(x)
    assert set(named.evaluate(x, np.arange(ROWS))) == {"rmse", "mae", "r2"}


@pytest.mark.parametrize(
    ("y", "part", "error"),
    [
        (["no"], "there are 1 targets for 2 rows; give one target a row", ShapeError),
        (["no"] * 3, "there are 3 targets for 2 rows", ShapeError),
        (["no", "maybe"], "row 2, column 'y' holds the label 'maybe'", DataError),
        (["no", None], "row 2, column 'y' has no value", DataError),
        ([0, 1], "row 1, column 'y' holds the label 0,", DataError),
        ([], "no rows", DataError),
        ([["no"], ["yes"]], "column 'y' holds list", DataError),
        (np.array([["no"], ["yes"]]), "column 'y' holds an array of shape (2, 1)", DataError),
        (3, "column 'y' holds an array of shape ()", DataError),
    ],
)
def test_targets_that_do_not_fit_the_table_are_refused(y: Any, part: str, error: type[GpuMlpError]) -> None:
    with refused(part, error=error):
        classifier().evaluate({"a": [1.0, 2.0], "c": ["r", "g"]}, y)


WRONG_TARGETS: list[tuple[str, int, Any, str]] = [
    ("softmax_cross_entropy", 3, [0, 1], "there are 2 targets for 3 rows"),
    ("softmax_cross_entropy", 3, [0, 1, 3], "labels reach from 0 to 3, but a network with 3 outputs"),
    ("softmax_cross_entropy", 3, [0, 1, -1], "labels reach from -1 to 1"),
    ("softmax_cross_entropy", 3, ["a", "b", "c"], "labels of type <U1"),
    ("softmax_cross_entropy", 3, [0.5, 1.5, 2.5], "labels of type float64"),
    ("softmax_cross_entropy", 3, [None] * 3, "labels of type object"),
    ("softmax_cross_entropy", 3, np.eye(3), "the targets are probabilities, but metrics need labels"),
    ("softmax_cross_entropy", 3, 1, "targets have shape ()"),
    ("binary_cross_entropy", 1, [0, 1, 2], "targets reach from 0 to 2"),
    ("binary_cross_entropy", 1, [0, 1, 0.5], "the targets are probabilities, but metrics need labels"),
    ("squared_error", 1, [1.0, np.nan, 2.0], "targets hold NaN"),
    ("squared_error", 1, ["1", "2", "3"], "targets have type <U1"),
    ("squared_error", 1, np.ones((3, 2)), "targets have shape (3, 2)"),
    ("squared_error", 2, np.ones(3), "targets have shape (3,)"),
    ("squared_error", 1, 3.0, "targets have shape ()"),
    ("poisson", 1, [1, 2, -1], "targets reach down to -1"),
]


@pytest.mark.parametrize(("loss", "outputs", "y", "part"), WRONG_TARGETS)
def test_bare_targets_are_refused_as_in_training(loss: str, outputs: int, y: Any, part: str) -> None:
    model, x = array_model(loss, (3, outputs))
    with refused(part, error=ShapeError):
        model.evaluate(x[:3], y)


def test_an_evaluation_of_no_rows_is_refused() -> None:
    model, _ = array_model("squared_error", (3, 1))
    assert model.predict(np.empty((0, 3))).shape == (0,)
    with refused("targets have no rows; give at least one", error=ShapeError):
        model.evaluate(np.empty((0, 3)), [])


def test_several_labels_a_row_have_no_metrics() -> None:
    model, x = KINDS["several labels"]()
    with refused("metrics of several labels a row are not defined; compare predict", error=ConfigError):
        model.evaluate(x, model.predict(x))


@pytest.mark.parametrize(
    ("sizes", "loss", "target", "preparation", "error", "part"),
    [
        ((3, 2), "softmax_cross_entropy", LABELS, PREPARATION, ShapeError, "makes 4 columns, but the network takes 3"),
        ((4, 3), "softmax_cross_entropy", LABELS, None, ShapeError, "needs 2 outputs, but the network has 3"),
        ((4, 2), "binary_cross_entropy", LABELS, None, ShapeError, "needs 1 outputs, but the network has 2"),
        ((4, 2), "squared_error", VALUES, None, ShapeError, "needs 1 outputs, but the network has 2"),
        ((4, 2), "squared_error", LABELS, None, ConfigError, "squared_error does not fit the target's task, class"),
        ((4, 1), "binary_cross_entropy", VALUES, None, ConfigError, "does not fit the target's task, regression"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together_are_refused(
    sizes: tuple[int, ...], loss: str, target: Any, preparation: Any, error: type[GpuMlpError], part: str
) -> None:
    with refused(part, error=error):
        Model(random_network(sizes), Loss(loss), target, preparation)
