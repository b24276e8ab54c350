"""A file, or a folder of files of one kind, as an Arrow table: CSV, Parquet and Feather."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gpu_mlp.data.csv_reading import read_csv
from gpu_mlp.data.csv_text import is_csv
from gpu_mlp.data.messages import first_line, quoted, shown_path
from gpu_mlp.errors import DataError

__all__ = ["arrow_table", "read_file", "read_folder"]

SUFFIXES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".feather": "Feather",
    ".arrow": "Feather",
    ".ipc": "Feather",
}
# Of the description at a Parquet file's end, whose numbers Arrow would otherwise believe.
LARGEST_DESCRIPTION = 100_000_000


def _kind(path: Path) -> str:
    """ "CSV", "Parquet", "Feather" or "" by the file's name."""
    return "CSV" if is_csv(path) else SUFFIXES.get(path.suffix.lower(), "")


def _reader_of(path: Path) -> Callable[[Path, Collection[str]], Any]:
    return {"CSV": read_csv, "Parquet": _read_parquet, "Feather": _read_feather}[_kind(path)]


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise DataError(
            f"reading {shown_path(path)} needs pyarrow, which is not installed; "
            "install it with: pip install 'gpu_mlp[data]'"
        ) from None
    return pa


def arrow_table(source: Any) -> Any:
    """What knows Arrow's C stream as a table."""
    import pyarrow as pa

    return pa.table(source)


def read_file(path: Path, as_text: Collection[str]) -> Any:
    _check_file(path)
    if not _kind(path):
        raise DataError(
            f"{shown_path(path)} ends in {quoted(path.suffix)}, which is not a table's suffix; "
            "give a .csv, .csv.gz, .tsv, .txt, .parquet, .pq, .feather, .arrow, .ipc, .npy or .npz file"
        )
    pa = _pyarrow(path)
    try:
        return _reader_of(path)(path, as_text)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, pa.ArrowException) as error:
        what = "text" if is_csv(path) else _kind(path)
        raise DataError(
            f"{shown_path(path)} cannot be read as {what} ({first_line(error)}); write the file again"
        ) from None


def _check_file(path: Path) -> None:
    shown = shown_path(path)
    if path.is_file():
        if path.stat().st_size == 0:
            raise DataError(f"{shown} is empty (0 bytes); give a file with a header and rows")
        return
    if path.exists():
        return  # a pipe or a device: its size says nothing
    if not path.parent.is_dir():
        raise DataError(f"{shown} does not exist, nor does its folder; check the path")
    near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1)
    hint = f"did you mean {quoted(near[0])}?" if near else "check the path"
    raise DataError(f"{shown} does not exist; {hint}")


def _read_parquet(path: Path, _: Collection[str]) -> Any:
    import pyarrow.parquet as pq

    limits = {
        "thrift_string_size_limit": LARGEST_DESCRIPTION,
        "thrift_container_size_limit": LARGEST_DESCRIPTION,
    }
    with pq.ParquetFile(path, **limits) as file:
        return _whole(file.read())


def _read_feather(path: Path, _: Collection[str]) -> Any:
    """Arrow's file format, or its stream."""
    import pyarrow as pa

    with path.open("rb") as file:
        beginning = file.read(6)
    if beginning == b"ARROW1":
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            return _whole(reader.read_all())
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return _whole(reader.read_all())


def _whole(table: Any) -> Any:
    """The table, once every value and every name was looked at. Raises ArrowInvalid or UnicodeDecodeError."""
    table.validate(full=True)
    str(table.column_names)
    return table


def read_folder(folder: Path, as_text: Collection[str]) -> Any:
    """All tables in a folder and those in it, one after the other in the order of their names.

    Names that begin with a dot or an underscore are left out. Raises DataError where there are none, where they are of
    several kinds, and where one has other columns than the first.
    """
    found = sorted(path for path in folder.rglob("*") if _kind(path) and not _is_hidden(folder, path))
    files = [path for path in found if path.is_file()]
    shown = shown_path(folder)
    if not files:
        raise DataError(f"{shown} is a folder without tables; give one with .csv, .parquet or .feather files")
    pa = _pyarrow(folder)
    kinds = {_kind(path): path for path in files}
    if len(kinds) > 1:
        names = " and ".join(f"{kind} ({shown_path(path.name)})" for kind, path in sorted(kinds.items()))
        raise DataError(f"{shown} holds tables of several kinds, {names}; keep those of one kind in it")
    tables = [read_file(path, as_text) for path in files]
    first = tables[0].column_names
    for path, table in zip(files, tables, strict=True):
        odd = sorted(set(first) ^ set(table.column_names))
        if odd:
            raise DataError(
                f"{shown_path(path)} has other columns than {shown_path(files[0])}: {quoted(odd[0])} is in one of them "
                "alone; keep tables with the same columns in a folder"
            )
    try:
        return pa.concat_tables([table.select(first) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"the tables in {shown} have columns of types that do not go together ({first_line(error)}); write them "
            "with the same types"
        ) from None


def _is_hidden(folder: Path, path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
