"""read_table: every source gives the same Table, and every file that cannot be read says why and where."""

from __future__ import annotations

import datetime
import decimal
import gzip
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpu_mlp.data import Table, csv_reading, read_table
from tests.data.refusals import refused

TEXT = "age,colour,member,joined\n41,red,true,2020-01-02\n,,false,\n7.5,NA,true,1969-12-31\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def check_people(table: Table) -> None:
    assert table.names == ("age", "colour", "member", "joined")
    assert [table.kinds[name] for name in table.names] == ["numeric", "text", "boolean", "date"]
    np.testing.assert_array_equal(table.columns["age"], [41, math.nan, 7.5])
    assert table.columns["colour"].tolist() == ["red", None, None]
    assert table.columns["member"].tolist() == [1.0, 0.0, 1.0]
    np.testing.assert_array_equal(table.columns["joined"], [1577923200.0, math.nan, -86400.0])
    assert [table.columns[name].dtype for name in table.names] == [np.float64, object, np.float64, np.float64]


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.csv.gz", "t.txt"])
def test_a_csv_is_read_with_its_kinds(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, TEXT)
    table = read_table(str(path))
    check_people(table)
    assert (table.origin, table.path) == (name, path)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    name = "t.tsv" if delimiter == "\t" else "t.csv"
    check_people(read_table(write(tmp_path, name, TEXT.replace(",", delimiter))))


def test_the_delimiter_is_the_one_that_cuts_every_row_alike(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "a, or b;c\n1;x, y, z\n2;w\n"))
    assert table.names == ("a, or b", "c")
    assert table.columns["c"].tolist() == ["x, y, z", "w"]


def test_decimal_commas_are_read_where_the_delimiter_is_a_semicolon(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.csv", "a;b\n1,5;2\n-0,25;3\n")).columns["a"].tolist() == [1.5, -0.25]
    assert read_table(write(tmp_path, "u.csv", "a;b\n1,5;2.5\n")).kinds["a"] == "text"
    assert read_table(write(tmp_path, "v.csv", "a;b\n1,500;2\n")).kinds["a"] == "text"  # thousands, or not?


def test_a_byte_order_mark_and_spaces_round_names_are_dropped(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", b"\xef\xbb\xbf a , b\n1,2\n")
    table = read_table(path, as_text=["a", "b"])
    assert table.names == ("a", "b")
    assert [table.columns[name].tolist() for name in table.names] == [["1"], ["2"]]
    assert table.place(0) == "t.csv, line 2"


def test_numbers_with_a_stray_text_are_text_and_all_missing_is_numeric(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "a,b,c\n1,,inf\n?,NaN,-1e400\n"))
    assert table.columns["a"].tolist() == ["1", "?"]
    assert np.isnan(table.columns["b"]).all()
    assert table.columns["c"].tolist() == [math.inf, -math.inf]
    assert dict(table.kinds) == {"a": "text", "b": "numeric", "c": "numeric"}


def test_integers_beyond_float64_stay_exact_as_text(tmp_path: Path) -> None:
    big = 2**53
    path = write(tmp_path, "t.csv", f"a,b,c\n{big},{big + 1},{-big - 1}\n1,2,\n")
    for source in (path, {"a": [big, 1], "b": [big + 1, 2], "c": [-big - 1, None]}):
        table = read_table(source)
        assert [table.kinds[name] for name in "abc"] == ["integer", "text", "text"]
        assert table.columns["b"].tolist() == [str(big + 1), "2"]
        assert table.columns["c"].tolist() == [str(-big - 1), None]
    frame = pd.DataFrame({"c": pd.array([-big - 1, None], dtype="Int64")})
    for source in (frame, pl.DataFrame({"c": [-big - 1, None]}), {"c": np.array([-big - 1, 0])}):
        assert read_table(source).columns["c"][0] == str(-big - 1)


def test_columns_named_as_text_keep_their_spelling(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "id,b\n007,1\n,2\n")
    assert read_table(path).columns["id"][0] == 7.0
    assert read_table(path, as_text=["id", "absent"]).columns["id"].tolist() == ["007", None]


def parquet(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "t.parquet")
    return folder / "t.parquet"


def test_parquet_arrow_pandas_polars_and_mappings_give_the_same_table(tmp_path: Path) -> None:
    columns = {
        "age": [41.0, None, 7.5],
        "colour": ["red", None, None],
        "member": [True, False, True],
        "joined": [datetime.date(2020, 1, 2), None, datetime.date(1969, 12, 31)],
    }
    arrow = pa.table(columns)
    dated = pd.DataFrame(columns).assign(joined=pd.to_datetime(pd.Series(columns["joined"])))
    for source, origin in (
        (parquet(tmp_path, arrow), "t.parquet"),
        (arrow, "Arrow table"),
        (pd.DataFrame(columns), "DataFrame"),
        (dated, "DataFrame"),
        (pl.DataFrame(columns), "DataFrame"),
        (columns, "mapping"),
        (arrow.set_column(1, "colour", arrow["colour"].dictionary_encode()), "Arrow table"),
    ):
        table = read_table(source)
        check_people(table)
        assert table.origin == origin
        assert read_table(table).names == table.names
    assert read_table(parquet(tmp_path, arrow)).place(1, "age") == "t.parquet, row 2, column 'age'"


ZONED = datetime.datetime(2020, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([1, None], pa.int8()), "numeric", [1, math.nan]),
        (pa.array([1, 2], pa.uint64()), "integer", [1, 2]),
        (pa.array([1.5, None], pa.float32()), "numeric", [1.5, math.nan]),
        (pa.array([decimal.Decimal("1.5")]), "numeric", [1.5]),
        (pa.array([None, None]), "numeric", [math.nan] * 2),
        (pa.array([True, None]), "boolean", [1, math.nan]),
        (pa.array([1500], pa.timestamp("ms", "UTC")), "date", [1.5]),
        (pa.array([86_400_000], pa.date64()), "date", [86400]),
        (pa.array([90], pa.time32("s")), "numeric", [90]),
        (pa.array([90_000_000], pa.time64("us")), "numeric", [90]),
        (pa.array([90_000], pa.duration("ms")), "numeric", [90]),
        (pa.array(["x", None], pa.large_string()), "text", ["x", None]),
        (np.array([1.5, 2], np.float16), "numeric", [1.5, 2]),
        (np.array([True, False]), "boolean", [1, 0]),
        (np.array(["x", "y"]), "text", ["x", "y"]),
        (np.array([1.5, 2.5], np.longdouble), "numeric", [1.5, 2.5]),
        (np.array(["1970-01-02", "NaT"], "M8[ns]"), "date", [86400, math.nan]),
        (np.array([3000], "m8[ms]"), "numeric", [3]),
        ([1, None, 2.5], "numeric", [1, math.nan, 2.5]),
        ([1, True], "integer", [1, 1]),
        (["a", math.nan, 3, 2.5, 4.0], "text", ["a", None, "3", "2.5", "4"]),
        ([np.int64(3), 4], "integer", [3, 4]),
        ([pd.NA, pd.NaT, 1.0], "numeric", [math.nan, math.nan, 1]),
        ([datetime.datetime(1970, 1, 2), pd.NaT], "date", [86400, math.nan]),  # noqa: DTZ001
        ([ZONED], "date", [1577836800]),
        ([pd.Timestamp("1970-01-02", tz="UTC")], "date", [86400]),
        ([datetime.timedelta(seconds=3)], "numeric", [3]),
        ([decimal.Decimal("2.5"), decimal.Decimal("nan")], "numeric", [2.5, math.nan]),
        (pd.Series([1, 2], dtype="category"), "integer", [1, 2]),
        (pd.Series(["x", None], dtype="category"), "text", ["x", None]),
        (pl.Series(["x", None], dtype=pl.Categorical), "text", ["x", None]),
    ],
)
def test_every_type_of_column_has_its_kind(values, kind: str, expected: list) -> None:
    source = pa.table({"c": values}) if isinstance(values, pa.Array) else {"c": values}
    table = read_table(source)
    assert table.kinds["c"] == kind
    got = table.columns["c"]
    assert got.dtype == (object if kind == "text" else np.float64)
    if kind == "text":
        assert got.tolist() == expected
        assert all(value is None or type(value) is str for value in got)
    else:
        np.testing.assert_array_equal(got, expected)


def test_a_time_without_a_zone_is_utc_wherever_the_machine_is(monkeypatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        naive = datetime.datetime(1970, 1, 2)  # noqa: DTZ001
        assert read_table({"d": [naive, None]}).columns["d"][0] == 86400
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_quoted_field_may_cross_the_blocks_a_file_is_read_in(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(csv_reading, "BLOCK_BYTES", 200)
    rows = 100
    path = write(tmp_path, "t.csv", "a,b\n" + '1,"x\n\n,y\n"\n' * rows)
    assert read_table(path).columns["b"].tolist() == ["x\n\n,y\n"] * rows
    assert read_table(path).place(rows - 1) == f"t.csv, line {2 + 4 * (rows - 1)}"


def test_an_array_names_its_columns_by_number() -> None:
    table = read_table(np.array([[1, 2, 3], [4, 5, 6]]))
    assert (table.names, table.origin, table.rows) == (("x0", "x1", "x2"), "array", 2)
    assert table.columns["x1"].tolist() == [2, 5]
    mixed = read_table(np.array([[1, "a"], [None, "b"]], dtype=object))
    assert dict(mixed.kinds) == {"x0": "numeric", "x1": "text"}


def test_reading_copies_nothing_back_into_the_source() -> None:
    source = np.ones((2, 1))
    read_table(source).columns["x0"][0] = 5
    assert source[0, 0] == 1


def test_ignored_columns_are_dropped_before_their_type_is_looked_at(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.table({"a": [1], "tags": [["x"]]}))
    with refused("t.parquet, column 'tags'", "list", "--ignore 'tags'"):
        read_table(path)
    assert read_table(path, ignore=["tags"]).names == ("a",)
    with refused("t.parquet has no column 'tag' to ignore", "did you mean 'tags'?"):
        read_table(path, ignore=["tag"])
    assert read_table(path, ignore=["tags", "gone"], absent_ok=True).names == ("a",)
    assert read_table(read_table({"a": [1], "b": [2]}), ignore=["b"]).names == ("a",)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([[1], [2]], "list"),
        ([{"k": 1}], "dict"),
        ([b"x"], "bytes"),
        (np.zeros((2, 2)), "shape (2, 2)"),
        (np.array([1j]), "complex128"),
        (np.array([b"x"]), "S1"),
        (pl.Series([[1], [2]]), "ndarray"),
        ([1, object()], "int and object"),
    ],
)
def test_a_type_without_meaning_is_refused_by_column(values, named: str) -> None:
    with refused("mapping, column 'c' holds", named, "--ignore 'c'"):
        read_table({"a": [1, 2], "c": values})


def test_sources_that_are_no_tables_are_refused() -> None:
    with refused("int cannot be read as a table", "give a path"):
        read_table(3)
    with refused("shape (3,)", "2 axes"):
        read_table(np.zeros(3))
    with refused("no columns"):
        read_table({})
    with refused("mapping", "'b' has 1 values", "'a' 2", "equal length"):
        read_table({"a": [1, 2], "b": [1]})
    with refused("mapping has columns ('a') but no rows"):
        read_table({"a": []})
    with refused("DataFrame names columns 1 and 2 both 'a'"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with refused("without a name, number 2 of 2"):
        read_table({"a": [1], " ": [2]})


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", TEXT)
    with refused("trian.csv does not exist", "did you mean 'train.csv'?"):
        read_table(tmp_path / "trian.csv")
    with refused("zzz.parquet does not exist", "check the path"):
        read_table(tmp_path / "zzz.parquet")
    with refused("nor does its folder"):
        read_table(tmp_path / "none" / "t.csv")
    (tmp_path / "empty").mkdir()
    with refused(f"{tmp_path}/empty is a folder without tables"):
        read_table(tmp_path / "empty")
    with refused("a.xlsx ends in '.xlsx'", ".parquet"):
        read_table(write(tmp_path, "a.xlsx", "x"))


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("a.csv", b"", ["a.csv is empty (0 bytes)"]),
        ("a.parquet", b"", ["a.parquet is empty (0 bytes)"]),
        ("a.csv", "\n\n", ["a.csv is empty but for blank lines"]),
        ("a.csv.gz", "", ["a.csv.gz is empty"]),
        ("a.csv", "a,b\n", ["a.csv has columns ('a', 'b') but no rows"]),
        ("a.csv", "a,b\n1,2\n\n3,4,5\n", ["a.csv, line 4,", "has 3 fields", "header has 2"]),
        ("a.csv", 'a,b\n"1\n1",2\n3\n', ["a.csv, line 4,", "has 1 fields", "header has 2"]),
        ("a.csv", 'a,b\n1,2\n3,"4\n5,6\n', ["a.csv, line 3,", "quote that is never closed"]),
        ("a.csv", 'a,b\n1,2\n"3,4\n5,6\n', ["a.csv, line 3,", "quote that is never closed"]),
        ("a.csv", b"a,b\n1,x\n2,\xe9t\xe9\n", ["a.csv, line 3,", "not UTF-8", "save the file as UTF-8"]),
        ("a.csv", b"\xe9,b\n1,x\n", ["a.csv, line 1,", "not UTF-8"]),
        ("a.csv.gz", b"a,b\n1,\xe9\n", ["a.csv.gz, line 2,", "not UTF-8"]),
        ("a.csv", "a,b\n1,x\n".encode("utf-16") + b"\x00", ["a.csv, line 3,", "not UTF-16"]),
        ("a.csv", b"a,b\n" + b"1,x\n" * 3000 + b"2,\xe9\n", ["a.csv, line 3002,", "not UTF-8"]),
        ("a.csv", "a,b,a\n1,2,3\n", ["a.csv, line 1,", "columns 1 and 3 both 'a'"]),
        ("a.csv", "\n,a\n0,1\n", ["a.csv, line 2,", "column without a name, number 1 of 2", "index=False"]),
        ("a.csv", "5.1,3.5\n4.9,3.0\n", ["a.csv, line 1,", "only numbers", "add a header"]),
        ("a.parquet", b"PAR1 this is no Parquet file PAR1", ["a.parquet cannot be read as Parquet"]),
        ("a.pq", "a,b\n1,2\n", ["a.pq cannot be read as Parquet"]),
    ],
)
def test_files_that_cannot_be_read_say_where(tmp_path: Path, name: str, text, parts: list[str]) -> None:
    with refused(*parts):
        read_table(write(tmp_path, name, text))


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(b"no gzip")
    with refused("a.csv.gz cannot be read as text"):
        read_table(path)
    path.write_bytes(gzip.compress(TEXT.encode() * 1000)[:-20])
    with refused("a.csv.gz cannot be read as text"):
        read_table(path)


def test_a_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, pa.table({"a": list(range(1000))}))
    path.write_bytes(path.read_bytes()[:-50])
    with refused("t.parquet cannot be read as Parquet", "write the file again"):
        read_table(path)


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    with refused(r"x\ny.csv", "is empty"):
        read_table(write(tmp_path, "x\ny.csv", b""))
    with refused(r"both 'a\nb'"):
        read_table(write(tmp_path, "t.csv", '"a\nb","a\nb"\n1,2\n'))


def test_a_quoted_last_field_may_hold_lines(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.csv", 'a,b\n1,"x\ny"\n')).columns["b"].tolist() == ["x\ny"]


def test_without_pyarrow_files_say_how_to_get_it_and_frames_still_work(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path, "t.csv", TEXT)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with refused("t.csv needs pyarrow", "pip install 'gpu_mlp[data]'"):
        read_table(path)
    assert read_table(pd.DataFrame({"a": [1, 2], "b": ["x", None]})).kinds["b"] == "text"


def test_numbers_match_pandas_on_a_file_of_odd_size(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(random.normal(size=(997, 7)) * 10.0 ** random.integers(-30, 30, (997, 7)))
    frame = frame.mask(random.random(frame.shape) < 0.1).rename(columns=str)
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv")
    for name in frame:
        np.testing.assert_array_equal(table.columns[name], frame[name].to_numpy())
