"""A few values that make a column of numbers text are refused with their place; text that is meant is taken."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import Preparation, Target, read_table
from gpu_mlp.fitting import fit_table
from tests.data.refusals import refused

NUMBERS = [str(n + 0.5) for n in range(36)]
CODES = ["1", "2", "3", "4"]

# One value or a few are wrong: the row, counting from 1, of the first.
MISREAD: dict[str, tuple[list[str | None], int]] = {
    "one among many": ([*NUMBERS[:20], "abc", *NUMBERS[20:]], 21),
    "a tenth of the values": ([*CODES * 9, "x", "y", "x", "y"], 37),
    "a marker in most rows": ([*["unknown"] * 60, *NUMBERS], 1),
    "after gaps": ([None, *CODES * 10, None, "n.a."], 43),
    "commas for thousands": (["1,250", "980", "2,100,000", "-3,000.5"], 1),
    "spaces for thousands": (["250", "1 980", "2 100"], 2),
    "commas for decimals": (["0,5", "1,25", "-,75"], 1),
    "points and a comma": (["1.000,5", "2.000,25"], 1),
}

MEANT: dict[str, list[Any]] = {
    "words": ["red", "blue", "red"],
    "words with a few numbers": [*["red", "blue"] * 20, "3", "4"],
    "mostly one number": [*["0"] * 95, "mild", "severe"],
    "less than nine tenths": [*CODES * 9, "x", "y", "x", "y", "x"],
    "numbers given as text": ["1", "2", "3"],
    "codes with letters": ["12a", "12b", "13"],
    "versions and dates": ["1.2.3", "2020.01.02", "1,2,3"],
}


def text(values: list[str | None]) -> Any:
    return read_table({"a": values, "b": list(range(len(values)))})


@pytest.mark.parametrize("case", MISREAD)
def test_a_feature_of_numbers_and_a_few_texts_is_refused(case: str) -> None:
    values, row = MISREAD[case]
    where = f"mapping, row {row}, column 'a' holds {values[row - 1]!r} in a column of numbers"
    with refused(where, "leave the column out with --ignore 'a'"):
        Preparation.fit(text(values), ["b", "a"])


@pytest.mark.parametrize("case", MISREAD)
def test_such_a_target_is_refused_unless_the_task_is_said(case: str) -> None:
    values, row = MISREAD[case]
    values = [value or "1" for value in values]
    with refused(f"mapping, row {row}, column 'a' holds ", "say --task classification if they are labels"):
        Target.infer_task(text(values), "a")
    assert Target.fit(text(values), "a", "classification").classes == tuple(sorted(set(values)))


@pytest.mark.parametrize("case", MEANT)
def test_text_that_is_meant_is_taken(case: str) -> None:
    values = MEANT[case]
    Preparation.fit(text(values), ["a"])
    assert Target.infer_task(text(values), "a").task == "classification"


def test_the_value_is_found_in_rows_that_do_not_train() -> None:
    for row in range(0, 36, 5):
        table = {"a": [*NUMBERS[:row], "abc", *NUMBERS[row + 1 :]], "y": [0.5 * n for n in range(36)]}
        with refused(f"row {row + 1}, column 'a' holds 'abc' in a column of numbers"):
            fit_table(table, "y", config=TrainingConfig(epochs=1), device="cpu")


@pytest.mark.parametrize(("labels", "rows", "taken"), [(21, 41, False), (21, 42, True), (20, 20, True)])
def test_more_than_twenty_labels_must_occur_twice_on_average(labels: int, rows: int, taken: bool) -> None:
    table = text([f"label {n % labels}" for n in range(rows)])
    if taken:
        assert Target.infer_task(table, "a").task == "classification"
        return
    with refused("mapping, column 'a' holds 21 different texts in 41 rows", "say --task classification"):
        Target.infer_task(table, "a")
    assert len(Target.fit(table, "a", "classification").classes) == labels
