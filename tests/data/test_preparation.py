"""Preparation: equal to scikit-learn's, exact through JSON, and clear when it refuses."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gpu_mlp.data import NumericFeature, Preparation, Table, TextFeature, read_table
from tests.data.refusals import refused

FLOAT32_MAX = float(np.finfo(np.float32).max)


def fitted(columns: dict) -> Preparation:
    return Preparation.fit(read_table(columns), list(columns))


@pytest.mark.parametrize("rows", [2, 31, 997])
def test_numbers_match_the_imputer_and_scaler_of_scikit_learn(rows: int) -> None:
    random = np.random.default_rng(rows)
    x = random.normal(size=(rows, 5)) * [1, 1e-3, 1e6, 1, 1e20] + [0, 5, -1e6, 1e8, 0]
    gaps = random.random((rows, 5)) < [0, 0.3, 0.5, 0, 0.1]
    gaps[0] = False
    gaps[1, 1] = True
    x[gaps] = math.nan
    later = random.normal(size=(13, 5))
    later[random.random((13, 5)) < 0.3] = math.nan
    preparation = Preparation.fit(read_table(x), [f"x{i}" for i in range(5)])

    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(x)
    scaler = StandardScaler().fit(imputer.transform(x)[:, :5])
    with_gaps = list(imputer.indicator_.features_)
    for data in (x, later):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            filled = SimpleImputer(strategy="median").fit(x).transform(data)
        expected = scaler.transform(filled)
        got = preparation.transform(read_table(data), np.float64)
        names = list(preparation.output_names)
        plain = [names.index(f"x{i}") for i in range(5)]
        marks = [names.index(f"x{i} is missing") for i in with_gaps]
        assert sorted(plain + marks) == list(range(len(names)))
        # One unit in the last place of a mean of 1e8 is 1.5e-8 of a scale of 1.
        np.testing.assert_allclose(got[:, plain], expected, rtol=1e-9, atol=1e-7)
        np.testing.assert_array_equal(got[:, marks], np.isnan(data[:, with_gaps]))


def test_text_matches_the_encoder_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    train, later = (random.choice(list(letters), (101, 2)).astype(object) for letters in ("abcé", "bcdzé"))
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train)
    preparation = fitted({"p": train[:, 0], "q": train[:, 1]})
    for data in (train, later):
        got = preparation.transform(read_table({"p": data[:, 0], "q": data[:, 1]}))
        np.testing.assert_array_equal(got, encoder.transform(data))
    assert preparation.output_names == tuple(f"{c}={letter}" for c in "pq" for letter in "abcé")


def test_missing_text_is_a_category_only_where_training_had_it() -> None:
    with_gap, without = fitted({"c": ["b", None, "a"]}), fitted({"c": ["b", "a"]})
    later = read_table({"c": ["a", None, "new"]})
    assert with_gap.output_names == ("c=a", "c=b", "c is missing")
    np.testing.assert_array_equal(with_gap.transform(later), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(without.transform(later), [[1, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(without.transform(read_table({"c": [None, None]})), np.zeros((2, 2)))


def test_columns_come_in_the_order_of_the_features_whatever_the_order_of_the_table() -> None:
    table = read_table({"b": ["x", "y"], "a": [1.0, 3.0], "t": [True, False], "y": [0, 1]})
    preparation = Preparation.fit(table, ["a", "b", "t"])
    assert preparation.input_names == ("a", "b", "t")
    assert preparation.text_names == ("b",)
    assert preparation.output_names == ("a", "b=x", "b=y", "t")
    result = preparation.transform(table, also_allowed=["y", "never there"])
    np.testing.assert_array_equal(result, [[-1, 1, 0, 1], [1, 0, 1, -1]])
    assert result.dtype == np.float32
    assert result.flags.c_contiguous


@pytest.mark.parametrize("constant", [0.1, 1e30, -7.0])
def test_a_constant_column_is_centred_and_not_scaled(constant: float) -> None:
    feature = fitted({"c": [constant] * 7}).features[0]
    assert isinstance(feature, NumericFeature)
    assert (feature.mean, feature.scale) == (constant, 1.0)


@pytest.mark.parametrize("size", [1e-200, 1e-300, 1e38])
def test_the_scale_neither_underflows_nor_overflows(size: float) -> None:
    preparation = fitted({"c": [-size, size, 0.0]})
    got = preparation.transform(read_table({"c": [size]}), np.float64)
    np.testing.assert_allclose(got, [[math.sqrt(1.5)]], rtol=1e-12)


def test_a_column_all_missing_at_prediction_gets_the_median() -> None:
    preparation = fitted({"a": [1.0, 2.0, 6.0], "b": [1.0, None, 3.0]})
    got = preparation.transform(read_table({"a": [None], "b": [None]}), np.float64)
    a, b = preparation.features
    np.testing.assert_allclose(got, [[(2 - a.mean) / a.scale, (2 - b.mean) / b.scale, 1]])


def test_text_that_spells_numbers_is_read_where_training_had_numbers() -> None:
    preparation = fitted({"n": [0.0, 2.0], "t": [True, False]})
    got = preparation.transform(read_table({"n": [" 2.50", "1e1", None], "t": ["TRUE", "false", "1"]}))
    np.testing.assert_array_equal(got, [[1.5, 1], [9, -1], [0, 1]])


def test_numbers_are_spelled_where_training_had_text() -> None:
    preparation = fitted({"c": ["3", "2.5", "x"], "t": ["True", "False", "?"], "u": ["true", "maybe", "?"]})
    later = read_table({"c": [3, 2.5, None], "t": [True, False, None], "u": [True, False, True]})
    # sorted: 2.5 3 x | ? False True | ? maybe true
    expected = [[0, 1, 0, 0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(preparation.transform(later), expected)


def test_the_spelling_of_a_csv_is_kept_by_reading_the_text_columns_as_text(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,n\n007,1\nA1,2\n")
    (tmp_path / "new.csv").write_text("id,n\n007,1\n")
    preparation = Preparation.fit(read_table(tmp_path / "train.csv"), ["id", "n"])
    table = read_table(tmp_path / "new.csv", as_text=preparation.text_names)
    np.testing.assert_array_equal(preparation.transform(table), [[1, 0, -1]])


def test_an_array_is_taken_by_position_where_there_is_no_text() -> None:
    columns = {"age": [1.0, 3.0], "weight": [10.0, 30.0]}
    preparation = fitted(columns)
    array = np.array([[3.0, 10.0]])
    np.testing.assert_array_equal(preparation.transform(read_table(array)), [[1, -1]])
    with refused("array has 3 columns, but training had 2", "'age', 'weight'"):
        preparation.transform(read_table(np.zeros((2, 3))))
    with refused("array lacks the columns 'age', 'colour'"):
        fitted({"age": [1.0, 2.0], "colour": ["a", "b"]}).transform(read_table(array))
    with refused("mapping lacks the columns 'age', 'weight'"):
        preparation.transform(read_table({"x0": [1], "x1": [2]}))


def test_dates_and_numbers_are_not_taken_for_each_other() -> None:
    days = np.array(["2020-01-01", "2020-01-03"], "M8[D]")
    dates, numbers, texts = fitted({"d": days}), fitted({"d": [1, 2]}), fitted({"d": ["a", "b"]})
    np.testing.assert_array_equal(dates.transform(read_table({"d": days})), [[-1], [1]])
    assert dates.transform(read_table({"d": [None]})).tolist() == [[0]]
    seconds = (days[:1] - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    assert dates.transform(read_table(seconds[:, None])).tolist() == [[-1]]  # an array has no dates
    with refused("mapping, row 2, column 'd' holds a number, but training had dates"):
        dates.transform(read_table({"d": [None, 3]}))
    with refused("mapping, row 1, column 'd' holds 'yesterday', but training had dates"):
        dates.transform(read_table({"d": ["yesterday"]}))
    with refused("mapping, row 1, column 'd' holds a date, but training had numbers"):
        numbers.transform(read_table({"d": days}))
    with refused("mapping, row 1, column 'd' holds a date, but training had text", "give the dates as text"):
        texts.transform(read_table({"d": days}))


def csv_of(folder: Path, text: str) -> Table:
    (folder / "t.csv").write_text(text)
    return read_table(folder / "t.csv")


def test_fitting_refuses_columns_it_cannot_use(tmp_path: Path) -> None:
    table = csv_of(tmp_path, "a,b,c,d\n1,,inf,1\n\n2,,3,-1e39\n")
    with refused("t.csv, column 'b' has no values at all", "--ignore 'b'"):
        Preparation.fit(table, ["a", "b"])
    with refused("t.csv, line 2, column 'c' holds inf", "finite"):
        Preparation.fit(table, ["a", "c"])
    with refused("t.csv, line 4, column 'd' holds -1e+39", "float32", "rescale"):
        Preparation.fit(table, ["d"])
    with refused("t.csv has no feature columns left"):
        Preparation.fit(table, [])
    with refused("t.csv has no column 'A'", "choose one of 'a', 'b', 'c', 'd'"):
        Preparation.fit(table, ["A"])


def test_a_thousand_categories_are_the_most() -> None:
    words = [f"w{i}" for i in range(1001)]
    assert len(fitted({"id": [*words[:1000], None]}).output_names) == 1001
    with refused("mapping, column 'id' has 1001 different texts", "1000", "--ignore 'id'"):
        fitted({"id": words})


def test_the_largest_float32_passes_and_the_next_float64_does_not() -> None:
    fitted({"a": [FLOAT32_MAX, -FLOAT32_MAX]})
    with refused("mapping, row 2, column 'a' holds 3.40282", "float32"):
        fitted({"a": [0.0, np.nextafter(FLOAT32_MAX, math.inf)]})


def test_transform_refuses_missing_and_unexpected_columns() -> None:
    preparation = fitted({"height": [1, 2], "age": [3, 4], "sex": ["f", "m"]})
    complete = {"height": [1], "age": [3], "sex": ["f"]}
    with refused("mapping lacks the column 'height'", "rename 'heigth' if that is it"):
        preparation.transform(read_table({"heigth": [1], "age": [3], "sex": ["f"]}))
    with refused("mapping lacks the columns 'height', 'age'", "add them"):
        preparation.transform(read_table({"sex": ["f"]}))
    with refused("mapping has the columns 'p', 'q' that training did not have", "remove them"):
        preparation.transform(read_table({**complete, "p": [1], "q": [1]}))
    with refused("mapping has the column 'q' that", "remove it"):
        preparation.transform(read_table({**complete, "p": [1], "q": [1]}), also_allowed=["p"])


def test_transform_refuses_values_by_place(tmp_path: Path) -> None:
    preparation = fitted({"a": [1.0, 1.001], "b": [1, 2]})
    for text, place, value in (
        ("a,b\n1,2\n\n\n1,x y\nz,1\n", "t.csv, line 6, column 'a'", "'z'"),
        ("a,b\n1,2\n\n\n1,x y\n,1\n", "t.csv, line 5, column 'b'", "'x y'"),
        ("a,b\n1,2\n1,1_000\n", "t.csv, line 3, column 'b'", "'1_000'"),
        ("a,b\n1,2\n,-inf\n", "t.csv, line 3, column 'b'", "-inf"),
        ("a,b\n1,2\n1,1e39\n", "t.csv, line 3, column 'b'", "1e+39"),
        ("a,b\n1,2\n3e38,1\n", "t.csv, line 3, column 'a'", "3e+38"),
    ):
        with refused(f"{place} holds {value}"):
            preparation.transform(csv_of(tmp_path, text))
    with refused(r"holds 'a\nb\x00ccc"):
        preparation.transform(read_table({"a": ["a\nb\0" + "c" * 1000], "b": [1]}))


names = st.text(min_size=1, max_size=5).filter(str.strip)
finite = st.floats(-1e30, 1e30) | st.none()
words = st.text(max_size=3) | st.none()


@st.composite
def tables(draw: st.DrawFn) -> dict:
    rows = draw(st.integers(1, 9))
    columns = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        values = draw(st.lists(draw(st.sampled_from([finite, words])), min_size=rows, max_size=rows))
        if any(value is not None for value in values):
            columns[name] = values
    return columns or {"a": [1.0] * rows}


@settings(max_examples=100, deadline=None)
@given(tables())
def test_the_description_round_trips_through_json_exactly(columns: dict) -> None:
    preparation = fitted(columns)
    text = json.dumps(preparation.to_dict(), allow_nan=False)
    again = Preparation.from_dict(json.loads(text))
    assert again == preparation
    table = read_table(columns)
    before, after = preparation.transform(table, np.float64), again.transform(table, np.float64)
    assert before.tobytes() == after.tobytes()
    assert before.shape == (table.rows, len(preparation.output_names))
    assert np.isfinite(before).all()


def test_a_damaged_description_is_refused() -> None:
    good = fitted({"a": [1, 2], "b": ["x", "y"]}).to_dict()
    assert [type(f) for f in Preparation.from_dict(good).features] == [NumericFeature, TextFeature]
    for bad in ({}, {"features": 3}, {"features": [{"type": "numeric"}]}, {"features": [{"type": "z"}]}):
        with refused("description of the features is damaged", "train the model again"):
            Preparation.from_dict(bad)
