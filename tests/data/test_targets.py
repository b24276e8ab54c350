"""Target: the task it infers, the labels and numbers it encodes and gives back, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder, StandardScaler

from gpu_mlp.data import Target, read_table, require_counts
from gpu_mlp.errors import ConfigError
from tests.data.refusals import refused


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (["a", "b"], "classification", "holds text"),
        ([True, False], "classification", "true and false"),
        ([0, 1, 1, 0], "classification", "2 different whole numbers in 4 rows"),
        ([*range(20), *range(20)], "classification", "20 different"),
        ([*range(21), *range(21)], "regression", "too many"),
        ([1, 2, 3, 1, 2], "regression", "3 different whole numbers in 5 rows"),
        ([1.5, 1.5, 2.0, 2.0], "regression", "decimal numbers"),
        ([1.0, 1.0, 2.0, 2.0], "regression", "whole numbers stored as decimals"),
        (np.array([1, 1], "M8[D]"), "regression", "dates"),
    ],
)
def test_the_task_is_inferred_and_the_reason_given(values, task: str, reason: str) -> None:
    choice = Target.infer_task(read_table({"y": values}), "y")
    assert choice.task == task
    assert reason in choice.reason
    assert choice.reason.startswith("column 'y' holds")
    assert choice.reason.endswith(f"so the task is {task}")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "é", "a", "b", "B"], ("B", "a", "b", "é")),
        ([3, -1, 3, 10], (-1, 3, 10)),
        ([True, False, True], (False, True)),
        ([1.5, 0.25, 1.5], (0.25, 1.5)),
    ],
)
def test_labels_match_those_of_scikit_learn_and_decode_to_their_own_type(values, classes: tuple) -> None:
    table = read_table({"y": values})
    target = Target.fit(table, "y", "classification")
    labels = target.encode(table)
    assert target.classes == classes
    assert [type(label) for label in target.classes] == [type(label) for label in classes]
    np.testing.assert_array_equal(labels, LabelEncoder().fit_transform(values))
    assert labels.dtype == np.int64
    decoded = target.decode_labels(labels).tolist()
    assert decoded == values
    assert [type(label) for label in decoded] == [type(label) for label in values]
    assert target.decode_labels(labels[:, None]).shape == (len(values), 1)


@pytest.mark.parametrize("rows", [3, 101])
def test_regression_values_match_the_scaler_and_come_back(rows: int) -> None:
    values = np.random.default_rng(rows).normal(3, 1e4, rows)
    table = read_table({"y": values})
    target = Target.fit(table, "y")
    encoded = target.encode(table)
    assert (target.task, target.classes, encoded.dtype) == ("regression", (), np.float64)
    np.testing.assert_allclose(
        encoded, StandardScaler().fit_transform(values[:, None]), rtol=1e-12, atol=1e-14
    )
    for outputs in (encoded, encoded[:, 0], encoded.astype(np.float32)):
        np.testing.assert_allclose(target.decode_values(outputs), values, rtol=1e-3 if rows else 0)
    np.testing.assert_allclose(target.decode_values(encoded), values, rtol=1e-12)


def test_values_are_kept_where_they_are_not_to_be_standardised() -> None:
    table = read_table({"y": [0, 3, 100]})
    target = Target.fit(table, "y", "regression", standardise=False)
    assert (target.mean, target.scale) == (0.0, 1.0)
    np.testing.assert_array_equal(target.encode(table), [[0], [3], [100]])


def test_a_constant_regression_has_scale_one() -> None:
    assert Target.fit(read_table({"y": [0.1] * 3}), "y").scale == 1.0


@pytest.mark.parametrize("values", [["a", "b"], [3, 3, 4, 4], [True, False], [0.5, 1.25]])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_description_round_trips_through_json_with_its_types(values, task: str) -> None:
    if task == "regression" and values[0] == "a":
        return
    target = Target.fit(read_table({"y": values}), "y", task)
    again = Target.from_dict(json.loads(json.dumps(target.to_dict(), allow_nan=False)))
    assert again == target
    assert [type(label) for label in again.classes] == [type(label) for label in target.classes]


def test_a_damaged_description_is_refused() -> None:
    good = Target.fit(read_table({"y": ["a", "b"]}), "y").to_dict()
    for change in ({"task": "other"}, {"classes": []}, {"classes": 3}, {"mean": "x"}):
        with refused("description of the target is damaged", "train the model again"):
            Target.from_dict({**good, **change})


def test_labels_are_recognised_in_whatever_type_a_later_table_has_them() -> None:
    integers = Target.fit(read_table({"y": [3, 3, 10, 10]}), "y")
    for values in (["10", "3.0"], [10.0, 3.0], [10, 3]):
        assert integers.encode(read_table({"y": values})).tolist() == [1, 0]
    booleans = Target.fit(read_table({"y": [True, False]}), "y")
    for values in (["True", "false"], [1, 0], [1.0, 0.0], ["1", "FALSE"]):
        assert booleans.encode(read_table({"y": values})).tolist() == [1, 0]
    texts = Target.fit(read_table({"y": ["3", "2.5", "True"]}), "y")
    assert texts.encode(read_table({"y": [3, 2.5]})).tolist() == [1, 0]
    assert texts.encode(read_table({"y": [True]})).tolist() == [2]
    assert (texts.text_names, integers.text_names) == (("y",), ())


def test_an_unknown_label_is_refused_with_its_place_and_the_classes(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("y,a\nb,1\n\nc,1\n")
    target = Target.fit(read_table({"y": ["a", "b"]}), "y")
    with refused("new.csv, line 4, column 'y' holds the label 'c'", "'a', 'b'"):
        target.encode(read_table(tmp_path / "new.csv"))
    integers = Target.fit(read_table({"y": [3, 3, 10, 10]}), "y")
    with refused("mapping, row 2, column 'y' holds the label 4,", "use one of 3, 10"):
        integers.encode(read_table({"y": [3, 4]}))
    with refused("mapping, row 1, column 'y' holds the label '1_0'"):
        integers.encode(read_table({"y": ["1_0"]}))
    many = Target.fit(read_table({"y": [f"c{i}" for i in range(50)]}), "y", "classification")
    with refused("'zzz'", "and 40 more"):
        many.encode(read_table({"y": ["zzz"]}))


def test_an_unknown_column_or_task_is_refused() -> None:
    table = read_table({"price": [1.5, 2.5], "b": [1, 2]})
    with refused("mapping has no column 'prise'", "did you mean 'price'?"):
        Target.fit(table, "prise")
    with refused("mapping has no column 'zzz'", "'price', 'b'"):
        Target.infer_task(table, "zzz")
    with refused("mapping has no column 'price'"):
        Target.fit(table, "price").encode(read_table({"q": [1]}))
    with refused("'regresion'", "did you mean 'regression'?", error=ConfigError):
        Target.fit(table, "price", "regresion")


@pytest.mark.parametrize(
    ("values", "task", "parts"),
    [
        ([1.5, None, 2.0, None], "auto", ["row 2, column 'y' has no value (1 more rows", "remove the row"]),
        (["a", None], "auto", ["row 2, column 'y' has no value,", "fill it in"]),
        ([1.5, math.inf], "auto", ["row 2, column 'y' holds inf", "finite"]),
        ([1.5, -math.inf], "classification", ["row 2, column 'y' holds -inf"]),
        ([1.5, 1e39], "auto", ["row 2, column 'y' holds 1e+39", "float32"]),
        (["1", "two"], "regression", ["row 2, column 'y' holds 'two'", "a regression needs numbers"]),
        (["a", "a"], "auto", ["column 'y' holds the one class 'a'", "at least 2"]),
        ([True], "auto", ["the one class True"]),
        ([str(i) for i in range(1001)], "classification", ["1001 different labels", "1000"]),
        (np.array([1, 2], "M8[D]"), "classification", ["holds dates", "--task regression"]),
    ],
)
def test_targets_that_cannot_be_used_are_refused(values, task: str, parts: list[str]) -> None:
    with refused("mapping, ", *parts):
        Target.fit(read_table({"y": values}), "y", task)


def test_text_that_spells_numbers_can_be_regressed() -> None:
    table = read_table({"y": ["1", "3"]})
    np.testing.assert_array_equal(Target.fit(table, "y", "regression").encode(table), [[-1], [1]])


def test_encoding_refuses_values_as_fitting_does() -> None:
    target = Target.fit(read_table({"y": [1.5, 2.5]}), "y")
    with refused("mapping, row 2, column 'y' has no value"):
        target.encode(read_table({"y": [1.5, None]}))
    with refused("mapping, row 1, column 'y' holds inf"):
        target.encode(read_table({"y": [math.inf]}))
    with refused("mapping, row 2, column 'y' holds 'x'", "training had numbers"):
        target.encode(read_table({"y": ["1", "x"]}))


def test_negative_counts_are_refused() -> None:
    require_counts(read_table({"y": [0, 1.5]}), "y")
    with refused("mapping, row 2, column 'y' holds -3,", "a count is 0 or more"):
        require_counts(read_table({"y": [0, -3]}), "y")
    with refused("mapping, row 1, column 'y' holds '-x'"):
        require_counts(read_table({"y": ["-x", "1"]}), "y")
