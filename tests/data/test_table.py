"""Table: its columns, its selections, and where it says a value stands."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys

import numpy as np
import pytest

import gpu_mlp.data
from gpu_mlp.data import Table, read_table
from tests.data.refusals import refused


def small() -> Table:
    return read_table({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [True, False, True]})


def test_it_knows_its_rows_names_and_which_columns_are_numeric() -> None:
    table = small()
    assert (table.rows, table.names) == (3, ("a", "b", "c"))
    assert [table.is_numeric(name) for name in table.names] == [True, False, True]
    assert dict(table.kinds) == {"a": "integer", "b": "text", "c": "boolean"}


def test_kinds_left_out_are_told_from_the_arrays() -> None:
    table = Table({"a": np.zeros(2), "b": np.array(["x", None], dtype=object)}, origin="t")
    assert dict(table.kinds) == {"a": "numeric", "b": "text"}


def test_a_selection_of_a_selection_keeps_the_places_of_the_source() -> None:
    table = small().select([2, 0]).select(np.array([True, False]))
    assert table.columns["b"].tolist() == ["z"]
    assert table.kinds["c"] == "boolean"
    assert table.place(0, "b") == "mapping, row 3, column 'b'"
    assert table.place(0) == "mapping, row 3"


def test_without_drops_columns_and_refuses_unknown_ones() -> None:
    table = small().without(["b"])
    assert table.names == ("a", "c")
    assert set(table.kinds) == {"a", "c"}
    with refused("mapping has no column 'bb'", "a", "c"):
        table.without(["bb"])
    with refused("mapping has no columns 'u', 'v'"):
        table.without(["u", "v"])


def test_an_unknown_column_is_answered_by_the_nearest_or_by_ten_of_them() -> None:
    with refused("mapping has no column 'heigth'", "did you mean 'height'?"):
        read_table({"height": [1], "b": [2]}).column("heigth")
    with refused("'c9' and 15 more"):
        read_table({f"c{i}": [1] for i in range(25)}).column("zzz")


def test_control_characters_in_names_are_escaped_and_long_names_cut() -> None:
    name = "a\nb\x1b[31m" + "x" * 500
    table = read_table({name: [1.0]})
    assert table.place(0, name).startswith(r"mapping, row 1, column 'a\nb\x1b[31mxxx")
    assert len(table.place(0, name)) < 110
    with refused(r"'a\nb\x1b[31mxxx"):
        table.column("q")


TRICKY = 'a,b\r\n\r\n1,"two\nlines, ""quoted"""\n\n\n2,x\n3,"y\n\nz"\r\n4,w'


@pytest.mark.parametrize("compressed", [False, True])
def test_the_line_of_a_csv_row_counts_blank_lines_and_lines_inside_quotes(tmp_path, compressed: bool) -> None:
    path = tmp_path / ("t.csv.gz" if compressed else "t.csv")
    path.write_bytes(gzip.compress(TRICKY.encode()) if compressed else TRICKY.encode())
    table = read_table(path)
    assert table.columns["a"].tolist() == [1, 2, 3, 4]
    assert table.columns["b"].tolist() == ['two\nlines, "quoted"', "x", "y\n\nz", "w"]
    places = [table.place(row, "b") for row in range(4)]
    assert places == [f"{path.name}, line {line}, column 'b'" for line in (3, 7, 8, 11)]
    # The csv module itself: the last line of each record that is not blank.
    reader = csv.reader(TRICKY.splitlines(keepends=True))
    assert [reader.line_num for fields in reader if fields] == [1, 4, 7, 10, 11]


def test_a_csv_that_has_gone_is_placed_by_row(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    table = read_table(path)
    path.unlink()
    assert table.place(0, "a") == "t.csv, row 1, column 'a'"


def test_the_public_names_are_sorted_and_there() -> None:
    assert gpu_mlp.data.__all__ == sorted(gpu_mlp.data.__all__)
    assert all(hasattr(gpu_mlp.data, name) for name in gpu_mlp.data.__all__)


def test_importing_it_loads_no_table_library() -> None:
    code = "import sys, gpu_mlp.data; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.replace("'", "").strip("[]\n").split(", "))
    assert "numpy" in loaded
    assert not loaded & {"pyarrow", "sklearn", "pandas", "polars"}
