"""A table that is read some rows at a time is the table that is read whole."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from gpu_mlp.data import Table, csv_reading, file_batches, open_source, read_table
from tests.data.refusals import refused
from tests.people import people

ROWS = 997


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches of a few rows."""
    monkeypatch.setattr(file_batches, "FEWEST_ROWS", 1)
    monkeypatch.setattr(file_batches, "VALUES_AT_ONCE", 300)
    monkeypatch.setattr(csv_reading, "SMALL_BLOCK_BYTES", 4096)


def arrow(rows: int = ROWS) -> Any:
    return pa.table({name: pa.array(values) for name, values in people(rows).items()})


def write(table: Any, path: Path) -> Path:
    match path.suffix:
        case ".csv":
            pyarrow.csv.write_csv(table, path)
        case ".parquet":
            pq.write_table(table, path, row_group_size=100)
        case _:
            feather.write_feather(table, path, chunksize=70)
    return path


def joined(batches: list[Table]) -> dict[str, list[Any]]:
    return {
        name: [value for batch in batches for value in batch.columns[name].tolist()]
        for name in batches[0].names
    }


def check_same(batches: list[Table], whole: Table) -> None:
    assert len(batches) > 1
    found = joined(batches)
    assert list(found) == list(whole.names)
    for name, values in found.items():
        np.testing.assert_array_equal(np.array(values, whole.columns[name].dtype), whole.columns[name])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
def test_a_file_is_read_in_batches(tmp_path: Path, suffix: str) -> None:
    path = write(arrow(), tmp_path / f"t{suffix}")
    source = open_source(path)
    assert source.names == tuple(people())
    assert ROWS <= source.rows_at_most <= ROWS + 2
    for _ in range(2):  # as often as asked
        check_same(list(source.batches()), read_table(path))


def test_an_arrow_stream_is_read_in_batches(tmp_path: Path) -> None:
    path, table = tmp_path / "t.arrow", arrow()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    source = open_source(path)
    assert source.rows_at_most == ROWS
    check_same(list(source.batches()), read_table(path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_folder_is_its_files_one_after_the_other(tmp_path: Path, suffix: str) -> None:
    for number in range(3):
        write(arrow().slice(300 * number, 300), tmp_path / f"part-{number}{suffix}")
    source = open_source(tmp_path, ignore=["income"])
    batches = list(source.batches())
    check_same(batches, read_table(tmp_path, ignore=["income"]))
    assert {batch.origin for batch in batches} == {f"part-{number}{suffix}" for number in range(3)}
    first, last = ("line 2", "line 301") if suffix == ".csv" else ("row 1", "row 300")
    assert batches[0].place(0) == f"part-0{suffix}, {first}"
    assert batches[-1].place(batches[-1].rows - 1) == f"part-2{suffix}, {last}"


def test_arrays_stay_in_their_files(tmp_path: Path) -> None:
    values = np.arange(4000.0).reshape(1000, 4)
    np.save(tmp_path / "t.npy", values)
    np.savez(tmp_path / "t.npz", x=values, y=np.arange(1000))
    source = open_source(tmp_path / "t.npy")
    assert (source.rows_at_most, source.bytes_held) == (1000, 0)
    check_same(list(source.batches()), read_table(tmp_path / "t.npy"))
    held = open_source(tmp_path / "t.npz")
    assert held.bytes_held == 5000 * 8
    check_same(list(held.batches()), read_table(tmp_path / "t.npz"))


def test_what_is_in_memory_is_cut(tmp_path: Path) -> None:
    whole = read_table(people(ROWS))
    source = open_source(people(ROWS))
    assert (source.origin, source.rows_at_most, source.bytes_held) == ("mapping", ROWS, 0)
    check_same(list(source.batches()), whole)


@pytest.mark.parametrize(
    ("first", "later", "kinds"),
    [
        (["1", "2"], ["3", "2.5"], {"integer", "numeric"}),
        (["1", "2"], ["", "4"], {"integer", "numeric"}),
        (["1", "2"], ["x", "4"], {"integer", "text"}),
        (["1.5", "2"], ["x", "4"], {"numeric", "text"}),
        (["", ""], ["1", "2"], {"numeric"}),
        (["", ""], ["x", "y"], {"numeric", "text"}),
        (["true", "false"], ["maybe", "true"], {"boolean", "text"}),
        (["2020-01-01", ""], ["2020-01-01 10:30:00", ""], {"date"}),
        (["2020-01-01", ""], ["2020-01-01 10:30:00.5", ""], {"date"}),
        (["2020-01-01", ""], ["soon", ""], {"date", "text"}),
    ],
)
def test_a_type_that_turns_out_too_narrow_is_widened(
    tmp_path: Path, first: list[str], later: list[str], kinds: set[str]
) -> None:
    path = tmp_path / "t.csv"
    rows = [*(first * 2000), *(later * 2000)]
    path.write_text("a,b\n" + "".join(f"{row},{number}\n" for number, row in enumerate(rows)))
    source = open_source(path)
    batches = list(source.batches())
    assert joined(batches)["b"] == list(range(8000))
    assert {batch.kinds["a"] for batch in batches if len(set(map(str, batch.columns["a"]))) > 1} <= kinds
    again = list(source.batches())  # now with the type that holds for all
    whole = read_table(path)
    if whole.kinds["a"] == "text":
        assert joined(again)["a"] == whole.columns["a"].tolist()
    else:
        np.testing.assert_array_equal(np.array(joined(again)["a"], float), whole.columns["a"])


def test_text_is_kept_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("code,y\n" + "007,1\n8,2\n" * 3000)
    assert set(joined(list(open_source(path, as_text=["code"]).batches()))["code"]) == {"007", "8"}
    assert set(joined(list(open_source(path).with_text(["code"]).batches()))["code"]) == {"007", "8"}
    numbers = pa.table({"code": [7, 8] * 50, "big": [2**53 + 1, 3] * 50, "on": [True, False] * 50})
    pq.write_table(numbers, tmp_path / "t.parquet")
    source = open_source(tmp_path / "t.parquet").with_text(["code", "big", "on"])
    found = joined(list(source.batches()))
    assert {name: set(values) for name, values in found.items()} == {
        "code": {"7", "8"},
        "big": {str(2**53 + 1), "3"},
        "on": {"true", "false"},
    }


def test_a_record_longer_than_a_block_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "x,1\n" * 3000 + "y" * 9000 + ",2\n" + "z,3\n" * 3000)
    check_same(list(open_source(path).batches()), read_table(path))


@pytest.mark.parametrize("compression", ["gzip", "bz2", "zstd", "lz4"])
def test_a_compressed_csv_is_read(tmp_path: Path, compression: str) -> None:
    suffix = {"gzip": ".gz", "zstd": ".zst"}.get(compression, f".{compression}")
    plain = write(arrow(), tmp_path / "plain.csv")
    path = tmp_path / f"t.csv{suffix}"
    with pa.output_stream(str(path), compression=compression) as file:
        file.write(plain.read_bytes())
    check_same(list(open_source(path).batches()), read_table(plain))
    assert read_table(path).columns["age"].tolist() == pytest.approx(
        read_table(plain).columns["age"].tolist(), nan_ok=True
    )
    assert read_table(path).place(4, "age") == f"t.csv{suffix}, line 6, column 'age'"


@pytest.mark.parametrize(
    ("encoding", "given"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("cp1252", "cp1252"),
        ("utf-16-le", "utf-16-le"),
    ],
)
def test_a_csv_in_another_encoding_is_read(tmp_path: Path, encoding: str, given: str | None) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(("größe,ort\n" + "1,Köln\n2,Zürich\n" * 2000).encode(encoding))
    whole = read_table(path, encoding=given)
    assert whole.names == ("größe", "ort")
    assert set(whole.columns["ort"]) == {"Köln", "Zürich"}
    check_same(list(open_source(path, encoding=given).batches()), whole)
    assert whole.place(3, "ort") == "t.csv, line 5, column 'ort'"


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    for encoding in ("klingon", "base64", "", "utf\0"):
        with refused("the encoding", "is unknown", "such as utf-8"):
            read_table(tmp_path / "t.csv", encoding=encoding)
        with refused("the encoding", "is unknown"):
            open_source(tmp_path / "t.csv", encoding=encoding)


def test_a_byte_in_no_encoding_is_placed_far_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + b"x,1\n" * 500_000 + b"\xe9,2\n" + b"x,1\n" * 10)
    with refused("t.csv, line 500002, is not UTF-8 text", "--encoding cp1252"):
        list(open_source(path).batches())
    assert sum(batch.rows for batch in open_source(path, encoding="cp1252").batches()) == 500_011


@pytest.mark.parametrize("encoding", ["ascii", "utf-16-le", "cp1252"])
def test_a_byte_in_none_of_another_encoding_is_placed_too(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    bad = {"ascii": b"\xe9", "utf-16-le": b"\x00\xd8", "cp1252": b"\x81"}[encoding]
    parts = [text.encode(encoding) for text in ("a,b\n", "x,1\n" * 500_000, ",2\n", "x,1\n" * 10)]
    path.write_bytes(parts[0] + parts[1] + bad + parts[2] + parts[3])
    for read in (read_table, lambda *a, **k: list(open_source(*a, **k).batches())):
        with refused(f"t.csv, line 500002, is not {encoding.upper()} text", "name its encoding"):
            read(path, encoding=encoding)


def test_columns_that_change_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    source = open_source(path)
    path.write_text("a,c\n1,2\n")
    with refused("t.csv has another header than when it was opened", "leave it as it is"):
        list(source.batches())
    table = pa.table({"a": [1], "b": [2]})
    pq.write_table(table, tmp_path / "t.parquet")
    source = open_source(tmp_path / "t.parquet")
    pq.write_table(table.select(["a"]), tmp_path / "t.parquet")
    with refused("t.parquet has other columns than when it was opened"):
        list(source.batches())


def test_files_of_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,c\n1,2\n")
    with refused("2.csv has other columns than", "'b' is in one of them alone"):
        list(open_source(tmp_path).batches())


def test_what_cannot_be_opened_is_refused_as_read_table_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("a,b\n")
    with refused("no column 'z' to ignore"):
        open_source(tmp_path / "t.csv", ignore=["z"])
    with refused("t.csv has no columns left to read"):
        open_source(tmp_path / "t.csv", ignore=["a", "b"])
    with refused("empty.csv has columns ('a', 'b') but no rows"):
        list(open_source(tmp_path / "empty.csv").batches())
    with refused("none.csv does not exist"):
        open_source(tmp_path / "none.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(50))
    with refused("t.parquet cannot be read as Parquet"):
        open_source(tmp_path / "t.parquet")


def test_a_file_that_is_damaged_further_on_is_refused_there(tmp_path: Path) -> None:
    path = write(arrow(5000), tmp_path / "t.parquet")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with refused("t.parquet cannot be read as Parquet"):
        list(open_source(path).batches())
    plain = b"a,b\n" + b"1,2\n" * 5000 + b"1,2,3\n" + b"1,2\n" * 50
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(plain))
    with refused("t.csv.gz, line 5002, has 3 fields, but the header has 2"):
        list(open_source(tmp_path / "t.csv.gz").batches())
    (tmp_path / "cut.csv.gz").write_bytes(
        gzip.compress(np.random.default_rng(0).bytes(30_000).hex().encode())[:20_000]
    )
    with refused("cut.csv.gz"):
        list(open_source(tmp_path / "cut.csv.gz").batches())
