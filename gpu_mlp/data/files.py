"""A file, or a folder of files of one kind, as an Arrow table: CSV, Parquet and Feather."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from gpu_mlp.data.csv_reading import read_csv
from gpu_mlp.data.csv_text import is_csv
from gpu_mlp.data.locations import Location, opened_by_arrow, steps_between
from gpu_mlp.data.messages import first_line, quoted, shown_path
from gpu_mlp.errors import DataError

__all__ = [
    "DESCRIPTION_LIMITS",
    "arrow_table",
    "check_file",
    "check_same_columns",
    "files_in",
    "interchanged_table",
    "is_arrow_stream",
    "kind_of",
    "looked_at",
    "read_file",
    "read_folder",
    "refused",
]

SUFFIXES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".feather": "Feather",
    ".arrow": "Feather",
    ".ipc": "Feather",
}
# Of the description at a Parquet file's end, whose numbers Arrow would otherwise believe.
LARGEST_DESCRIPTION = 100_000_000
DESCRIPTION_LIMITS = {
    "thrift_string_size_limit": LARGEST_DESCRIPTION,
    "thrift_container_size_limit": LARGEST_DESCRIPTION,
}


def kind_of(path: Location) -> str:
    """ "CSV", "Parquet", "Feather" or "" by the file's name."""
    return "CSV" if is_csv(path) else SUFFIXES.get(path.suffix.lower(), "")


def _pyarrow(path: Location) -> Any:
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


def interchanged_table(source: Any) -> Any:
    """What knows the DataFrame interchange protocol as a table. Raises DataError for what it cannot hand over."""
    from pyarrow import ArrowException
    from pyarrow.interchange import from_dataframe

    try:
        return from_dataframe(source)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, ArrowException) as error:
        raise DataError(
            f"a {type(source).__name__} cannot be taken over by the DataFrame interchange protocol "
            f"({first_line(error)}); convert it to pandas or Arrow"
        ) from None


def read_file(path: Location, as_text: Collection[str], encoding: str | None = None) -> Any:
    """A file as a pyarrow Table; encoding is a CSV's, or None. Raises DataError."""
    check_file(path)
    with refused(path):
        match kind_of(path):
            case "CSV":
                return read_csv(path, as_text, encoding)
            case "Parquet":
                return _read_parquet(path)
            case _:
                return _read_feather(path)


@contextmanager
def refused(path: Location) -> Iterator[None]:
    """Whatever goes wrong within, in reading the file, is a DataError."""
    pa = _pyarrow(path)
    try:
        yield
    except (OSError, EOFError, UnicodeError, zlib.error, csv.Error, pa.ArrowException) as error:
        what = "text" if is_csv(path) else kind_of(path)
        raise DataError(
            f"{shown_path(path)} cannot be read as {what} ({first_line(error)}); write the file again"
        ) from None


def check_file(path: Location) -> None:
    """Raise DataError for a name that is no table's, and where there is no such file or it is empty."""
    shown = shown_path(path)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{shown} is empty (0 bytes); give a file with a header and rows")
    if not path.exists():  # a pipe or a device exists, and its size says nothing
        if not path.parent.is_dir():
            raise DataError(f"{shown} does not exist, nor does its folder; check the path")
        near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1)
        hint = f"did you mean {quoted(near[0])}?" if near else "check the path"
        raise DataError(f"{shown} does not exist; {hint}")
    if not kind_of(path):
        raise DataError(
            f"{shown} ends in {quoted(path.suffix)}, which is not a table's suffix; "
            "give a .csv, .csv.gz, .tsv, .txt, .parquet, .pq, .feather, .arrow, .ipc, .npy or .npz file"
        )


def _read_parquet(path: Location) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(opened_by_arrow(path), **DESCRIPTION_LIMITS) as file:
        return looked_at(file.read())


def _read_feather(path: Location) -> Any:
    """Arrow's file format, or its stream."""
    import pyarrow as pa

    open_reader = pa.ipc.open_stream if is_arrow_stream(path) else pa.ipc.open_file
    with opened_by_arrow(path) as file, open_reader(file) as reader:
        return looked_at(reader.read_all())


def is_arrow_stream(path: Location) -> bool:
    """Whether a file of Arrow's is a stream, and not one whose batches are found by its end."""
    with path.open("rb") as file:
        return file.read(6) != b"ARROW1"


def looked_at(table: Any) -> Any:
    """The table, once every value and every name was looked at. Raises ArrowInvalid or UnicodeDecodeError."""
    table.validate(full=True)
    str(table.column_names)
    return table


def read_folder(folder: Location, as_text: Collection[str], encoding: str | None = None) -> Any:
    """All tables in a folder and those in it, one after the other in the order of their names.

    Raises DataError as `files_in` does, and where one has other columns than the first.
    """
    files = files_in(folder)
    pa = _pyarrow(folder)
    tables = [read_file(path, as_text, encoding) for path in files]
    first = tables[0].column_names
    for path, table in zip(files, tables, strict=True):
        check_same_columns(path, table.column_names, files[0], first)
    try:
        return pa.concat_tables([table.select(first) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"the tables in {shown_path(folder)} have columns of types that do not go together ({first_line(error)}); "
            "write them with the same types"
        ) from None


def files_in(folder: Location) -> list[Location]:
    """The tables in a folder and those in it, in the order of their names.

    Names that begin with a dot or an underscore are left out. Raises DataError where there are none, and where they
    are of several kinds.
    """
    found = sorted(path for path in folder.rglob("*") if kind_of(path) and not _is_hidden(folder, path))
    files = [path for path in found if path.is_file()]
    shown = shown_path(folder)
    if not files:
        raise DataError(f"{shown} is a folder without tables; give one with .csv, .parquet or .feather files")
    kinds = {kind_of(path): path for path in files}
    if len(kinds) > 1:
        names = " and ".join(f"{kind} ({shown_path(path.name)})" for kind, path in sorted(kinds.items()))
        raise DataError(f"{shown} holds tables of several kinds, {names}; keep those of one kind in it")
    return files


def check_same_columns(
    path: Location, names: Sequence[str], first: Location, first_names: Sequence[str]
) -> None:
    """Raise DataError where the file has other columns than the first of its folder."""
    odd = sorted(set(first_names) ^ set(names))
    if odd:
        raise DataError(
            f"{shown_path(path)} has other columns than {shown_path(first)}: {quoted(odd[0])} is in one of them "
            "alone; keep tables with the same columns in a folder"
        )


def _is_hidden(folder: Location, path: Location) -> bool:
    return any(part.startswith((".", "_")) for part in steps_between(folder, path))
