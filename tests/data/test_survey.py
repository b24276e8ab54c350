"""One pass over a source learns what `Preparation.fit` and `Target.fit` learn of the whole table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_mlp.data import (
    DrawnSplit,
    NumericFeature,
    Preparation,
    Table,
    Target,
    file_batches,
    open_source,
    read_table,
)
from gpu_mlp.data.drawn_split import SAMPLE, TEST, VALIDATION
from gpu_mlp.data.survey import Survey, survey
from gpu_mlp.errors import DataError
from tests.data.refusals import refused
from tests.people import TARGETS, features_and

ROWS = 1500
EVERYTHING_KEPT = DrawnSplit(5, 0.2, 0.1)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_batches, "FEWEST_ROWS", 1)
    monkeypatch.setattr(file_batches, "VALUES_AT_ONCE", 600)


def surveyed(source: Any, target: str, split: DrawnSplit = EVERYTHING_KEPT, task: str = "auto") -> Survey:
    return survey(open_source(source), target, split, task=task)


def parts_of(split: DrawnSplit, rows: int) -> Any:
    return split.parts(split.numbers(0, rows))


@pytest.mark.parametrize("target", TARGETS)
def test_it_learns_what_the_training_rows_of_the_whole_table_teach(target: str) -> None:
    table = read_table(features_and(target, ROWS))
    found = surveyed(features_and(target, ROWS), target)
    parts = parts_of(found.split, ROWS)
    training = np.flatnonzero((parts != VALIDATION) & (parts != TEST))
    assert (found.rows, found.training_rows) == (ROWS, len(training))
    assert found.choose_task() == Target.infer_task(table, target)
    task = found.choose_task().task
    assert dict(found.kinds) == dict(table.kinds)

    features = [name for name in table.names if name != target]
    expected = Preparation.fit(table, features, training)
    for mine, theirs in zip(found.preparation().features, expected.features, strict=True):
        if isinstance(mine, NumericFeature):
            assert isinstance(theirs, NumericFeature)
            assert (mine.name, mine.kind, mine.indicator) == (theirs.name, theirs.kind, theirs.indicator)
            assert mine.median == theirs.median  # of all training rows, since all are kept
            assert (mine.mean, mine.scale) == pytest.approx((theirs.mean, theirs.scale), rel=1e-12)
        else:
            assert mine == theirs

    mine = found.target.target("t", task, standardise=True)
    rows = table if task == "classification" else table.select(training)
    theirs_target = Target.fit(rows, target, task)
    assert (mine.name, mine.task, mine.classes) == (
        theirs_target.name,
        theirs_target.task,
        theirs_target.classes,
    )
    assert (mine.mean, mine.scale) == pytest.approx((theirs_target.mean, theirs_target.scale), rel=1e-12)


def test_the_kept_rows_are_those_of_their_parts() -> None:
    split = EVERYTHING_KEPT.at_most(0.05)
    table = read_table(features_and("grade", ROWS))
    found = surveyed(features_and("grade", ROWS), "grade", split)
    parts = parts_of(found.split, ROWS)
    for part in (VALIDATION, TEST, SAMPLE):
        rows = np.flatnonzero(parts == part)
        assert 20 < len(rows) < 200
        kept = found.table(part)
        assert kept is not None
        check_equal(kept, table.select(rows))
        smaller = found.split.at_most(0.02)
        less = found.table(part, smaller)
        assert less is not None
        check_equal(less, table.select(np.flatnonzero(parts_of(smaller, ROWS) == part)))


def check_equal(found: Table, expected: Table) -> None:
    assert found.names == expected.names
    assert found.kinds == expected.kinds
    for name in found.names:
        np.testing.assert_array_equal(found.columns[name], expected.columns[name])


def test_a_part_without_rows_is_none() -> None:
    found = surveyed(features_and("grade", ROWS), "grade", DrawnSplit(5, 0.0, 0.0))
    assert found.table(VALIDATION) is None
    assert found.table(TEST) is None


def write(path: Path, header: str, *parts: tuple[str, int]) -> Path:
    path.write_text(header + "\n" + "".join(row * times for row, times in parts), encoding="utf-8")
    return path


def test_a_column_that_becomes_text_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b,y\n", ("007,1,x\n", 200_000), ("low,1,z\n", 150_000))
    found = surveyed(path, "y")
    feature = found.preparation().features[0]
    assert feature.output_names == ("a=007", "a=low")
    assert found.rows == 350_000
    whole = read_table(path)
    assert whole.kinds["a"] == "text"


def test_the_rows_read_are_reported(tmp_path: Path) -> None:
    heard: list[int] = []
    survey(
        open_source(features_and("grade", 300)), "grade", EVERYTHING_KEPT, task="auto", report=heard.append
    )
    assert heard[-1] == 300
    assert heard == sorted(heard)
    assert len(heard) > 2


def test_a_few_texts_among_numbers_are_a_mistake_wherever_they_stand(tmp_path: Path) -> None:
    """At once, much later than the first block, and among so many different numbers that none is remembered."""
    early = write(
        tmp_path / "t.csv", "a,y", ("1,x\n", 5), ("n.a.,z\n", 1), ("2,x\n3,z\n4,x\n5,z\n6,x\n7,z\n8,x\n", 3)
    )
    with refused("t.csv, line 7, column 'a' holds 'n.a.' in a column of numbers", "--ignore 'a'"):
        surveyed(early, "y")
    late = write(tmp_path / "t.csv", "a,y", ("1,x\n2,z\n", 200_000), ("n.a.,z\n", 1), ("3,x\n", 50))
    with refused("t.csv, line 400002, column 'a' holds 'n.a.' in a column of numbers", "--ignore 'a'"):
        surveyed(late, "y")
    many = tmp_path / "t.csv"
    many.write_text("a,y\n" + "".join(f"{n}.5,x\n" for n in range(100_000)) + "n.a.,x\n" * 3 + "1.5,z\n" * 9)
    with refused("t.csv, line 100002, column 'a' holds 'n.a.' in a column of numbers"):
        surveyed(many, "y")


@pytest.mark.parametrize("position", ["first", "later"])
def test_a_target_of_numbers_with_a_text_is_a_mistake(tmp_path: Path, position: str) -> None:
    numbers, text = ("1.5,1\n2.5,2\n3.5,3\n", 1000 if position == "first" else 100_000), ("?,1\n", 1)
    path = write(tmp_path / "t.csv", "y,a", *((text, numbers) if position == "first" else (numbers, text)))
    line = 2 if position == "first" else 300_002
    with refused(f"t.csv, line {line}, column 'y' holds '?' in a column of numbers", "--task classification"):
        surveyed(path, "y").choose_task()
    with refused(f"t.csv, line {line}, column 'y' holds '?'"):
        surveyed(path, "y", task="regression")


def test_too_many_texts_are_refused_before_memory_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"name{n},x\n" for n in range(400_000)))
    with pytest.raises(
        DataError, match=r"column 'a' has \d+ different texts, but at most 1000 can become"
    ) as caught:
        surveyed(path, "y")
    assert 10_000 < int(str(caught.value).split(" has ")[1].split()[0]) < 200_000


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"1,{n}\n2,{n}\n" for n in range(3000)))
    found = surveyed(path, "y")
    assert found.choose_task().reason == (
        "column 'y' holds more than 1000 different whole numbers in 6000 rows, too many to be classes, so the task is "
        "regression"
    )
    with refused("t.csv, column 'y' holds more than 1000 different labels", "--task regression"):
        found.target.target(found.shown_origin, "classification", standardise=True)


def test_what_the_whole_table_is_refused_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content, target, says in (
        ("a,y\n" + "1,x\n" * 3000 + "2,\n" + "1,z\n" * 3000, "y", "line 3002, column 'y' has no value"),
        ("a,y\n" + "1,x\n" * 3000 + "1e39,x\n" + "1,z\n" * 3000, "y", "line 3002, column 'a' holds 1e+39"),
        ("a,y\n" + "1,x\n" * 3000 + "inf,x\n" + "1,z\n" * 3000, "y", "line 3002, column 'a' holds inf"),
        ("a,b,y\n" + ",1,x\n,2,z\n" * 3000, "y", "column 'a' has no values at all"),
        ("a,y\n" + "1,x\n" * 3000, "y", "holds the one class 'x'"),
        ("a,y\n1,x\n", "z", "has no column 'z'"),
        ("y\nx\nz\n", "y", "has no feature columns left"),
    ):
        path.write_text(content)
        with refused("t.csv", says):
            found = surveyed(path, target)
            found.preparation()
            found.target.target(found.shown_origin, found.choose_task().task, standardise=True)


def test_counts_are_looked_at_as_they_come(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,y", ("1,2\n", 4000), ("1,-1\n", 1))
    with refused("t.csv, line 4002, column 'y' holds -1, but a count is 0 or more"):
        survey(open_source(path), "y", EVERYTHING_KEPT, task="regression", counts=True)
