"""read_table: a file, a folder of files, a DataFrame, an Arrow table, a mapping or an array as a Table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.array_files import is_array_file, read_array_file
from gpu_mlp.data.conversion import UnsupportedTypeError, from_array, from_arrow, from_objects
from gpu_mlp.data.csv_text import known_encoding
from gpu_mlp.data.files import arrow_table, interchanged_table, read_file, read_folder
from gpu_mlp.data.locations import Location, located
from gpu_mlp.data.messages import first_line, quoted, shown_path
from gpu_mlp.data.table import Column, Table, kept_names, refuse_no_rows
from gpu_mlp.errors import DataError

__all__ = ["build_table", "read_table"]


def read_table(
    source: object,
    *,
    ignore: Collection[str] = (),
    absent_ok: bool = False,
    as_text: Collection[str] = (),
    encoding: str | None = None,
) -> Table:
    """Read `source` into a Table.

    Args:
        source: a path, or a URL of a file system that pyarrow knows, to .csv, .tsv or .txt (also with .gz, .bz2, .zst
            or .lz4; the delimiter, one of comma, semicolon, tab and bar, is found; a header is required), to .parquet
            or .pq, to .feather, .arrow or .ipc, or to a folder of such files of one kind; a path to .npy or .npz, or to
            an IDX file as MNIST's, beside which its labels are found; a pandas or polars DataFrame; a pyarrow Table, or
            what gives one by Arrow's C stream or the DataFrame interchange protocol; a mapping of names to 1-D arrays
            or lists; a 2-D array (columns x0, x1, ...).
        ignore: columns left out before their types are looked at.
        absent_ok: whether a name in `ignore` may be absent (for prediction) or is a mistake (for training).
        as_text: columns of a CSV read as text whatever they look like, so that '007' stays '007'.
        encoding: of a CSV, as Python names it; None for UTF-8, or UTF-16 where the file begins with its mark.

    In a CSV an empty field, NA, NaN, null and the like are missing, and blank lines are skipped.
    Raises DataError where the source cannot be read, has no rows, or holds a column of a type that is
    neither numbers nor text nor dates.
    """
    if isinstance(source, Table):
        return _without(source, ignore, absent_ok)
    if isinstance(source, (str, Path)):
        path = located(source)
        if isinstance(path, Path) and is_array_file(path) and path.is_file():
            columns = read_array_file(path)
            return build_table(list(columns), list(columns.values()), path.name, None, ignore, absent_ok)
        encoding = None if encoding is None else known_encoding(encoding)
        read = read_folder if path.is_dir() else read_file
        data = read(path, as_text, encoding)
        return _from_arrow_table(data, path.name, None if path.is_dir() else path, ignore, absent_ok)
    module = type(source).__module__.partition(".")[0]
    if module == "pyarrow" and hasattr(source, "column_names"):
        return _from_arrow_table(source, "Arrow table", None, ignore, absent_ok)
    if module in {"pandas", "polars"} and hasattr(source, "columns") and hasattr(source, "shape"):
        series = _series_of(source)
        return build_table(
            [str(name) for name in source.columns], series, "DataFrame", None, ignore, absent_ok
        )
    if hasattr(source, "__arrow_c_stream__"):
        return _from_arrow_table(arrow_table(source), type(source).__name__, None, ignore, absent_ok)
    if hasattr(source, "__dataframe__"):
        return _from_arrow_table(interchanged_table(source), type(source).__name__, None, ignore, absent_ok)
    if isinstance(source, Mapping):
        names = [str(name) for name in source]
        return build_table(names, list(source.values()), "mapping", None, ignore, absent_ok)
    if isinstance(source, np.ndarray):
        if source.ndim != 2:
            raise DataError(
                f"the array has shape {source.shape}, but a table needs 2 axes: give (rows, columns)"
            )
        names = [f"x{index}" for index in range(source.shape[1])]
        return build_table(names, list(source.T), "array", None, ignore, absent_ok)
    raise DataError(
        f"a {type(source).__name__} cannot be read as a table; "
        "give a path, a DataFrame, an Arrow table, a mapping of columns or a 2-D array"
    )


def _without(table: Table, ignore: Collection[str], absent_ok: bool) -> Table:
    return table.without([name for name in ignore if not absent_ok or name in table.columns])


def _series_of(frame: Any) -> list[Any]:
    """The columns of a pandas or polars DataFrame, by position: names may repeat."""
    if hasattr(frame, "get_columns"):
        return list(frame.get_columns())
    return [frame.iloc[:, index] for index in range(frame.shape[1])]


def _from_arrow_table(
    data: Any, origin: str, path: Location | None, ignore: Collection[str], absent_ok: bool
) -> Table:
    return build_table(list(data.column_names), list(data.columns), origin, path, ignore, absent_ok)


def build_table(
    names: Sequence[str],
    series: Sequence[Any],
    origin: str,
    path: Location | None,
    ignore: Collection[str],
    absent_ok: bool,
    first_row: int | None = None,
) -> Table:
    """A Table of columns in any of the forms `read_table` takes; first_row: of some rows of the file, the first."""
    shown = shown_path(origin)
    kept = kept_names(shown, names, ignore, absent_ok)
    columns: dict[str, Column] = {}
    kinds: dict[str, str] = {}
    for name, values in zip(names, series, strict=True):
        if name not in kept:
            continue
        try:
            columns[name], kinds[name] = _convert(values)
        except UnsupportedTypeError as error:
            raise DataError(
                f"{shown}, column {quoted(name)} holds {first_line(error)}, but numbers, text, booleans or "
                f"dates are needed; convert it, or leave it out with --ignore {quoted(name)}"
            ) from None
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise DataError(
            f"{shown}, column {quoted(short)} has {lengths[short]} values and column {quoted(long)} "
            f"{lengths[long]}; give columns of equal length"
        )
    count = lengths[kept[0]]
    if count == 0:
        refuse_no_rows(shown, names)
    rows = None if first_row is None else first_row + np.arange(count)
    return Table(columns, origin, path, kinds, rows)


def _convert(values: Any) -> tuple[Column, str]:
    """One column in any of the forms `read_table` takes as (values (N,), kind)."""
    if hasattr(values, "null_count") and hasattr(values, "chunks"):
        return from_arrow(values)
    if isinstance(values, (list, tuple, range)):
        return from_objects(np.fromiter(values, dtype=object, count=len(values)))
    array = _array_of(values)
    if array.ndim != 1:
        raise UnsupportedTypeError(f"an array of shape {array.shape}")
    return from_array(array)


def _array_of(values: Any) -> NDArray[Any]:
    """A NumPy array of a pandas or polars series; whole numbers with gaps as objects, so none is rounded."""
    dtype: Any = getattr(values, "dtype", None)
    if isinstance(values, np.ndarray) or not hasattr(values, "to_numpy"):
        return np.asarray(values)
    if getattr(values, "hasnans", False) and getattr(dtype, "kind", "") in ("i", "u"):
        return np.asarray(values.astype(object).to_numpy())
    if hasattr(dtype, "is_integer") and dtype.is_integer() and values.null_count():
        return np.fromiter(values.to_list(), dtype=object, count=len(values))
    return np.asarray(values.to_numpy())
