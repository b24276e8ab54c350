"""split_rows: every row in one part, shares of the classes kept, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_mlp.data import split_rows
from gpu_mlp.errors import ConfigError
from tests.data.refusals import refused


@settings(max_examples=100, deadline=None)
@given(
    st.integers(3, 200),
    st.floats(0, 0.95),
    st.floats(0, 0.95),
    st.integers(0, 2**40),
    st.none() | st.integers(1, 9),
)
def test_every_row_is_in_exactly_one_part(rows, validation, test, seed, classes) -> None:
    if validation + test >= 1:
        return
    labels = None if classes is None else np.random.default_rng(rows).integers(0, classes, rows)
    split = split_rows(rows, labels, validation=validation, test=test, seed=seed)
    parts = (split.train, split.validation, split.test)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    assert len(split.train) >= 1
    for part, fraction in ((split.validation, validation), (split.test, test)):
        assert (len(part) > 0) == (fraction > 0)
        # Half a row by rounding, and a row more where another part needs its one row.
        assert abs(len(part) - fraction * rows) < 2


@pytest.mark.parametrize("labels", [None, np.repeat([0, 1, 2], 40)])
def test_the_seed_decides(labels) -> None:
    first, again, other = (split_rows(120, labels, validation=0.2, test=0.1, seed=s) for s in (5, 5, 6))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
        assert not np.array_equal(getattr(first, part), getattr(other, part))
    assert [len(part) for part in (first.train, first.validation, first.test)] == [84, 24, 12]


def test_classes_keep_their_shares_in_every_part() -> None:
    labels = np.array(["a"] * 600 + ["b"] * 300 + ["c"] * 100, dtype=object)
    split = split_rows(1000, labels, validation=0.2, test=0.1, seed=0)
    for part, expected in ((split.train, 700), (split.validation, 200), (split.test, 100)):
        counts = [int((labels[part] == letter).sum()) for letter in "abc"]
        assert counts == [expected * 6 // 10, expected * 3 // 10, expected // 10]


def test_rare_classes_and_small_parts_are_split_plainly() -> None:
    lonely = np.array([0] * 50 + [1])
    assert len(split_rows(51, lonely, validation=0.2, test=0.2, seed=0).validation) == 10
    assert len(split_rows(10, np.repeat(np.arange(5), 2), validation=0.1, test=0.1, seed=0).test) == 1


@pytest.mark.parametrize("counts", [(29, 1), (30, 1, 1, 1), (3, 1, 1), (1, 1), (20, 2, 1)])
def test_every_class_has_a_row_to_train_on_where_there_are_enough(counts: tuple[int, ...]) -> None:
    labels = np.repeat([f"class {k}" for k in range(len(counts))], counts)
    for seed in range(40):
        split = split_rows(len(labels), labels, validation=0.2, test=0.2 * (len(labels) > 2), seed=seed)
        assert len(set(labels[split.train])) == min(len(counts), len(split.train))
        parts = (split.train, split.validation, split.test)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
        assert all((np.diff(part) > 0).all() for part in parts)


def test_no_fractions_leave_every_row_to_train_on() -> None:
    split = split_rows(5, None, validation=0, test=0.0, seed=0)
    np.testing.assert_array_equal(split.train, np.arange(5))
    assert (len(split.validation), len(split.test)) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "validation", "test", "sizes"), [(3, 0.5, 0.4, 1), (2, 0.99, 0, 1), (3, 0.1, 0.89, 1)]
)
def test_one_row_is_always_left_to_train_on(rows: int, validation: float, test: float, sizes: int) -> None:
    assert len(split_rows(rows, None, validation=validation, test=test, seed=0).train) == sizes


def test_too_few_rows_are_refused() -> None:
    with refused("has 2 rows", "at least 3", "--validation 0"):
        split_rows(2, None, validation=0.1, test=0.1, seed=0)
    with refused("has 1 row,", "at least 2"):
        split_rows(1, None, validation=0.1, test=0, seed=0)


@pytest.mark.parametrize(
    ("validation", "test", "parts"),
    [
        (1.0, 0.0, ["--validation is 1.0", "below 1"]),
        (-0.1, 0.0, ["--validation is -0.1"]),
        (0.1, 1.5, ["--test is 1.5"]),
        (float("nan"), 0.1, ["--validation is nan"]),
        (0.5, 0.5, ["--validation 0.5 and --test 0.5", "below 1"]),
    ],
)
def test_fractions_out_of_range_are_refused(validation: float, test: float, parts: list[str]) -> None:
    with refused(*parts, error=ConfigError):
        split_rows(100, None, validation=validation, test=test, seed=0)
