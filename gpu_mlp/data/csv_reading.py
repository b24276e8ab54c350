"""A CSV file as an Arrow table, whole or some rows at a time, and the sentence that says where the file is wrong."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from gpu_mlp.data import csv_text
from gpu_mlp.data.locations import Location, RemoteFile
from gpu_mlp.data.messages import listed, quoted, shown_path
from gpu_mlp.data.table import check_names
from gpu_mlp.errors import DataError

__all__ = ["CsvBatches", "read_csv"]

# A record longer than a block cannot be read; wide files have records of more than Arrow's default 1 MiB.
BLOCK_BYTES = 16 << 20
# Arrow reads some dozen blocks ahead. A file with records longer than this one is begun again with long blocks.
SMALL_BLOCK_BYTES = 1 << 20
TOO_LONG_A_RECORD = "straddl"
NOT_OF_ITS_TYPE = re.compile(r"In CSV column #(\d+): .*conversion error to (?P<type>[^:]+): invalid value")


def read_csv(path: Location, as_text: Collection[str], encoding: str | None = None) -> Any:
    """The file as a pyarrow Table, its types told from its values but for the columns named in `as_text`.

    Raises DataError where the file is blank, is in no known encoding, is ragged, or its header names no column or
    one column twice; pyarrow's own errors pass.
    """
    import pyarrow as pa
    from pyarrow import csv

    dialect = _dialect(path, encoding)
    try:
        data = csv.read_csv(_opened(path), **_options(dialect, _texts(dialect, as_text), BLOCK_BYTES))
    except (pa.ArrowInvalid, UnicodeError):
        _explain(path, dialect)
        raise
    if any(pa.types.is_binary(type_) for type_ in data.schema.types):
        _check_decodable(path, dialect.encoding)  # Arrow takes a column that is not UTF-8 for binary data
    _check_last_quote(path, dialect, data)
    return _with_plain_names(data)


class CsvBatches:
    """A CSV file some rows at a time, as often as asked.

    A column's type is told from the first rows. Where a later value is none of it, the rows from there on have the
    next wider type, and so has the whole column in the next pass: whoever reads compares what the batches hold.

    Raises what `read_csv` raises, when a pass comes to the place.
    """

    def __init__(self, path: Location, as_text: Collection[str], encoding: str | None = None) -> None:
        self._path, self._dialect = path, _dialect(path, encoding)
        self._types: dict[str, Any] = _texts(self._dialect, as_text)
        self._all_known = False
        self._block = SMALL_BLOCK_BYTES

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return self._dialect.header

    def __iter__(self) -> Iterator[Any]:
        import pyarrow as pa

        done = 0  # rows
        last = None
        while True:
            read = 0
            try:
                for batch in self._reader():
                    read += batch.num_rows
                    if read > done:
                        last = pa.Table.from_batches([batch.slice(max(done - (read - batch.num_rows), 0))])
                        done = read
                        yield _with_plain_names(last)
                break
            except (pa.ArrowInvalid, UnicodeError) as error:
                if not self._can_go_on(str(error)):
                    _explain(self._path, self._dialect)
                    raise
        if last is not None:
            _check_last_quote(self._path, self._dialect, last)

    def _reader(self) -> Any:
        """Arrow's, which knows the type of every column."""
        from pyarrow import csv

        if not self._all_known:
            with csv.open_csv(
                _opened(self._path), **_options(self._dialect, self._types, self._block)
            ) as reader:
                self._types = {field.name: _plain(field.type) for field in reader.schema}
            self._all_known = True
        reader = csv.open_csv(_opened(self._path), **_options(self._dialect, self._types, self._block))
        if tuple(reader.schema.names) != self._dialect.raw_header:
            raise DataError(
                f"{shown_path(self._path)} has another header than when it was opened; leave it as it is while it is "
                "read"
            )
        return reader

    def _can_go_on(self, error: str) -> bool:
        """Whether the file is to be read again, with longer blocks or a wider type."""
        if TOO_LONG_A_RECORD in error and self._block < BLOCK_BYTES:
            self._block = BLOCK_BYTES
            return True
        found = NOT_OF_ITS_TYPE.search(error)
        if found is None or found["type"] == "string":
            return False
        name = self._dialect.raw_header[int(found[1])]
        self._types[name] = _wider(self._types[name])
        return True


def _opened(path: Location) -> Any:
    """What Arrow reads: a local file by its name, so that it reads ahead; else a stream, decompressed."""
    return csv_text.open_bytes(path) if isinstance(path, RemoteFile) else path


def _plain(type_: Any) -> Any:
    """What a column is read as: numbers where all of the first rows are empty, text where they are not UTF-8."""
    import pyarrow as pa

    if pa.types.is_null(type_):
        return pa.float64()
    return pa.string() if pa.types.is_binary(type_) else type_


def _wider(type_: Any) -> Any:
    """The next type in the order in which Arrow tries them."""
    import pyarrow as pa

    if pa.types.is_integer(type_):
        return pa.float64()
    if pa.types.is_date32(type_):
        return pa.timestamp("s")
    if pa.types.is_timestamp(type_) and type_.unit == "s":
        return pa.timestamp("ns")
    return pa.string()


def _with_plain_names(data: Any) -> Any:
    return data.rename_columns([name.strip() for name in data.column_names])


def _texts(dialect: csv_text.Dialect, as_text: Collection[str]) -> dict[str, Any]:
    import pyarrow as pa

    return {name: pa.string() for name in dialect.raw_header if name.strip() in as_text}


def _options(dialect: csv_text.Dialect, types: dict[str, Any], block: int) -> dict[str, Any]:
    from pyarrow import csv

    # Arrow decodes the first itself, anything else through Python.
    encoding = "utf8" if dialect.encoding == csv_text.UTF_8 else dialect.encoding
    return {
        "read_options": csv.ReadOptions(block_size=block, encoding=encoding),
        "parse_options": csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            strings_can_be_null=True, decimal_point=dialect.decimal, column_types=types
        ),
    }


def _dialect(path: Location, encoding: str | None) -> csv_text.Dialect:
    """How the file is written; its header is looked at."""
    try:
        dialect = csv_text.sniff(path, encoding)
    except UnicodeError:
        _check_decodable(path, encoding)
        raise
    if dialect is None:
        raise DataError(
            f"{shown_path(path)} is empty but for blank lines; give a file with a header and rows"
        )
    where = f", line {dialect.header_line},"
    check_names(shown_path(path), dialect.header, where)
    if all(csv_text.DECIMAL_POINT.fullmatch(name) for name in dialect.header):
        raise DataError(
            f"{shown_path(path)}{where} holds only numbers ({listed(dialect.header)}), but the names of the "
            "columns are needed there; add a header"
        )
    return dialect


def _explain(path: Location, dialect: csv_text.Dialect) -> None:
    """Raise DataError that says on which line the file is wrong, where that can be found."""
    _check_decodable(path, dialect.encoding)
    _check_widths(path, dialect)


def _check_last_quote(path: Location, dialect: csv_text.Dialect, data: Any) -> None:
    """Refuse a file whose last quote is never closed: Arrow takes the rest of the file for one field."""
    import pyarrow as pa

    last = data.slice(max(data.num_rows - 1, 0))
    texts = [column for column in last.columns if pa.types.is_string(column.type)]
    if any("\n" in str(value) for column in texts for value in column.to_pylist()):
        _check_widths(path, dialect)


def _check_decodable(path: Location, encoding: str | None) -> None:
    """Raise DataError at the first line that cannot be decoded, where there is one."""
    encoding = csv_text.encoding_of(path) if encoding is None else encoding
    line = csv_text.find_undecodable_line(path, encoding)
    if line is not None:
        name = encoding.removesuffix("-sig").upper()
        raise DataError(
            f"{shown_path(path)}, line {line}, is not {name} text; save the file as UTF-8, or name its encoding "
            "(--encoding cp1252)"
        )


def _check_widths(path: Location, dialect: csv_text.Dialect) -> None:
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
