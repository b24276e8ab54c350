"""Feather files, folders of tables, and what knows Arrow's C stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from gpu_mlp.data import Table, read_table
from tests.data.refusals import refused

DATA = pa.table({"a": [1.5, None, 3.0], "größe": ["x", None, "z"], "n": [1, 2, 3]})


def write_stream(table: Any, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def check(table: Table, times: int = 1) -> None:
    assert table.names == ("a", "größe", "n")
    assert table.columns["größe"].tolist() == ["x", None, "z"] * times
    assert table.columns["n"].tolist() == [1.0, 2.0, 3.0] * times
    assert table.kinds["n"] == "integer"


@pytest.mark.parametrize("name", ["t.feather", "t.arrow", "t.ipc"])
@pytest.mark.parametrize("form", ["file", "compressed", "stream"])
def test_arrows_own_formats_are_read(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / name
    if form == "stream":
        write_stream(DATA, path)
    else:
        feather.write_feather(DATA, path, compression="zstd" if form == "compressed" else "uncompressed")
    check(read_table(path))


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.feather").write_bytes(b"FEA1" + bytes(100))  # as Feather's first version begins
    with refused("t.feather cannot be read as Feather"):
        read_table(tmp_path / "t.feather")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
def test_a_folder_is_its_tables_in_the_order_of_their_names(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "many"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "_log").mkdir()
    for place in ("deep/er/2", "1", "_log/3", ".4"):
        path = folder / f"{place}{suffix}"
        if suffix == ".csv":
            path.write_text("a,größe,n\n1.5,x,1\n,,2\n3.0,z,3\n", encoding="utf-8")
        elif suffix == ".parquet":
            pq.write_table(DATA, path)
        else:
            feather.write_feather(DATA, path)
    (folder / "notes.md").write_text("of no kind")
    table = read_table(folder)
    check(table, times=2)
    assert (table.origin, table.path) == ("many", None)


def test_types_that_go_together_are_joined(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,x\n")
    (tmp_path / "2.csv").write_text("b,a\ny,2.5\n")
    table = read_table(tmp_path)
    assert table.columns["a"].tolist() == [1.0, 2.5]
    assert table.columns["b"].tolist() == ["x", "y"]


def test_folders_whose_tables_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with refused("is a folder without tables"):
        read_table(tmp_path)
    (tmp_path / "1.csv").write_text("a,b\n1,x\n")
    (tmp_path / "2.csv").write_text("a,c\n1,x\n")
    with refused(f"{tmp_path}/2.csv has other columns than {tmp_path}/1.csv: 'b' is in one of them alone"):
        read_table(tmp_path)
    (tmp_path / "2.csv").write_text("a,b\nred,x\n")
    with refused("have columns of types that do not go together"):
        read_table(tmp_path)
    pq.write_table(DATA, tmp_path / "2.parquet")
    with refused("holds tables of several kinds, CSV (2.csv) and Parquet (2.parquet)"):
        read_table(tmp_path)


def test_what_knows_arrows_stream_is_read() -> None:
    class Foreign:
        """Of a library that nobody here has heard of."""

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return DATA.__arrow_c_stream__(requested_schema)

    table = read_table(Foreign())
    check(table)
    assert table.origin == "Foreign"


class Interchanged:
    """What only knows the DataFrame interchange protocol, as pandas's frames do beside others."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __dataframe__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._frame.__dataframe__(*arguments, **keywords)


@pytest.mark.filterwarnings("ignore:.*[Ii]nterchange")
def test_the_interchange_protocol_is_known() -> None:
    pandas = pytest.importorskip("pandas")
    table = read_table(
        Interchanged(pandas.DataFrame({"a": [1.5, None, 3.0], "n": [1, 2, 3], "w": ["x", "y", "z"]}))
    )
    assert table.origin == "Interchanged"
    assert table.columns["n"].tolist() == [1, 2, 3]
    assert table.columns["w"].tolist() == ["x", "y", "z"]
    assert table.columns["a"].tolist() == pytest.approx([1.5, float("nan"), 3.0], nan_ok=True)
    with refused("a Interchanged cannot be taken over by the DataFrame interchange protocol"):
        read_table(Interchanged(pandas.DataFrame({"a": [1 + 2j, 3]})))
