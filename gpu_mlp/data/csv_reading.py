"""A CSV file as an Arrow table, and the sentence that says where the file is wrong."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from gpu_mlp.data import csv_text
from gpu_mlp.data.messages import listed, quoted, shown_path
from gpu_mlp.data.table import check_names
from gpu_mlp.errors import DataError

__all__ = ["read_csv"]

# A record longer than a block cannot be read; wide files have records of more than Arrow's default 1 MiB.
BLOCK_BYTES = 16 << 20


def read_csv(path: Path, as_text: Collection[str]) -> Any:
    """The file as a pyarrow Table, its types told from its values but for the columns named in `as_text`.

    Raises DataError where the file is blank, is not UTF-8, is ragged, or its header names no column or
    one column twice; pyarrow's own errors pass.
    """
    import pyarrow as pa
    from pyarrow import csv

    try:
        dialect = csv_text.sniff(path)
    except UnicodeDecodeError:
        _check_decodable(path)
        raise
    if dialect is None:
        raise DataError(
            f"{shown_path(path)} is empty but for blank lines; give a file with a header and rows"
        )
    _check_header(path, dialect)
    try:
        data = csv.read_csv(path, **_options(dialect, as_text))
    except pa.ArrowInvalid:
        _check_decodable(path)
        _check_widths(path, dialect)
        raise
    if any(pa.types.is_binary(type_) for type_ in data.schema.types):
        _check_decodable(path)  # Arrow takes a column that is not UTF-8 for binary data
    _check_last_quote(path, dialect, data)
    return data.rename_columns([name.strip() for name in data.column_names])


def _options(dialect: csv_text.Dialect, as_text: Collection[str]) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv

    text = {name: pa.string() for name in dialect.raw_header if name.strip() in as_text}
    return {
        "read_options": csv.ReadOptions(block_size=BLOCK_BYTES),
        "parse_options": csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            strings_can_be_null=True, decimal_point=dialect.decimal, column_types=text
        ),
    }


def _check_header(path: Path, dialect: csv_text.Dialect) -> None:
    where = f", line {dialect.header_line},"
    check_names(shown_path(path), dialect.header, where)
    if all(csv_text.DECIMAL_POINT.fullmatch(name) for name in dialect.header):
        raise DataError(
            f"{shown_path(path)}{where} holds only numbers ({listed(dialect.header)}), but the names of the "
            "columns are needed there; add a header"
        )


def _check_last_quote(path: Path, dialect: csv_text.Dialect, data: Any) -> None:
    """Refuse a file whose last quote is never closed: Arrow takes the rest of the file for one field."""
    import pyarrow as pa

    last = data.slice(max(data.num_rows - 1, 0))
    texts = [column for column in last.columns if pa.types.is_string(column.type)]
    if any("\n" in str(value) for column in texts for value in column.to_pylist()):
        _check_widths(path, dialect)


def _check_decodable(path: Path) -> None:
    """Raise DataError at the first line that is not UTF-8, where there is one."""
    line = csv_text.find_undecodable_line(path)
    if line is not None:
        raise DataError(f"{shown_path(path)}, line {line}, is not UTF-8 text; save the file as UTF-8")


def _check_widths(path: Path, dialect: csv_text.Dialect) -> None:
    """Raise DataError at the first row of another width than the header, where there is one."""
    ragged = csv_text.find_ragged_row(path, dialect)
    if ragged is None:
        return
    where = f"{shown_path(path)}, line {ragged.line},"
    if ragged.unclosed:
        raise DataError(f"{where} opens a quote that is never closed; close it or remove it")
    raise DataError(
        f"{where} has {ragged.found} fields, but the header has {ragged.expected}; "
        f"correct the row, quoting fields that hold {quoted(dialect.delimiter)}"
    )
