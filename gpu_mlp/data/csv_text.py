"""CSV as text: how a file is written, and on which line a row, a ragged row or a bad byte stands."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, TextIO, cast

from gpu_mlp.data.locations import Location, RemoteFile
from gpu_mlp.data.messages import quoted
from gpu_mlp.errors import DataError

__all__ = [
    "DECIMAL_POINT",
    "UTF_8",
    "Dialect",
    "RaggedRow",
    "count_lines",
    "encoding_of",
    "find_ragged_row",
    "find_undecodable_line",
    "is_csv",
    "known_encoding",
    "line_of_row",
    "open_bytes",
    "sniff",
]

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")
UTF_8 = "utf-8-sig"
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
BLOCK_BYTES = 1 << 20
DELIMITERS = (",", ";", "\t", "|")
SNIFFED_RECORDS = 50
LONGEST_FIELD = 1 << 30

DECIMAL_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})")
DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+")


@dataclass(frozen=True)
class Dialect:
    """How a file is written: its delimiter, its decimal mark, its header and the line the header is on."""

    delimiter: str
    decimal: str
    raw_header: tuple[str, ...]
    header_line: int
    encoding: str

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns, without the spaces around them."""
        return tuple(name.strip() for name in self.raw_header)


@dataclass(frozen=True)
class RaggedRow:
    """The first row whose number of fields differs from the header's; `unclosed`: by a quote never closed."""

    line: int
    found: int
    expected: int
    unclosed: bool


def is_csv(path: Location) -> bool:
    """Whether the file's name says that it holds delimited text, compressed or not."""
    return _name(path).endswith(CSV_SUFFIXES)


def _name(path: Location) -> str:
    """In lower case, without the ending of a compression."""
    name = path.name.lower()
    return name[: name.rindex(".")] if name.endswith(COMPRESSIONS) else name


def known_encoding(encoding: str) -> str:
    """Its name here. Raises DataError for one that Python does not know, or that is none of text."""
    try:
        name = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(name)().decode(b"")
        "".encode(name)
        return UTF_8 if name in ("utf-8", "utf-8-sig") else name
    except (LookupError, ValueError, TypeError, AttributeError):
        raise DataError(
            f"the encoding {quoted(encoding)} is unknown; give one that Python knows, such as utf-8, utf-16, cp1252 "
            "or latin-1"
        ) from None


def encoding_of(path: Location) -> str:
    """By the file's byte-order mark; UTF-8 where there is none, or its own."""
    with open_bytes(path) as file:
        return MARKS.get(file.read(2), UTF_8)


def open_bytes(path: Location) -> IO[bytes]:
    """The file's bytes, decompressed where its name ends in .gz, .bz2, .zst or .lz4."""
    if not path.name.lower().endswith(COMPRESSIONS):
        return path.open("rb")
    import pyarrow as pa

    if isinstance(path, RemoteFile):
        codec = pa.Codec.detect(path.name).name
        stream = pa.CompressedInputStream(path.system.open_input_stream(path.place, compression=None), codec)
    else:
        stream = pa.input_stream(str(path), compression="detect")
    return cast("IO[bytes]", io.BufferedReader(stream))


@contextmanager
def open_text(path: Location, encoding: str, errors: str = "strict") -> Iterator[TextIO]:
    """The file as text without its byte-order mark, its line ends left for the csv module."""
    limit = csv.field_size_limit(LONGEST_FIELD)  # an unclosed quote makes one field of the rest of the file
    try:
        with (
            open_bytes(path) as file,
            io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="") as text,
        ):
            yield text
    finally:
        csv.field_size_limit(limit)


def records(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The non-blank records, each with the line it begins on (counting from 1).

    Blank lines are skipped, as the CSV reader of Arrow skips them; a quoted field may span lines.
    """
    reader = csv.reader(file, delimiter=delimiter)
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def sniff(path: Location, encoding: str | None = None, errors: str = "strict") -> Dialect | None:
    """Find the delimiter among comma, semicolon, tab and bar from the first records; None for a blank file.

    The encoding is that of the byte-order mark where none is given.

    A delimiter that cuts every record into as many fields as the header wins, then the one that finds most
    fields in the header. A .tsv is always cut at tabs. Where the delimiter is a semicolon, and numbers such
    as 1,5 but none such as 1.5 occur, the decimal mark is the comma.
    Raises UnicodeError where these records are not in that encoding.
    """
    encoding = encoding_of(path) if encoding is None else encoding
    found: dict[str, list[tuple[int, list[str]]]] = {}
    is_tsv = _name(path).endswith(".tsv")
    for delimiter in ("\t",) if is_tsv else DELIMITERS:
        with open_text(path, encoding, errors) as file:
            found[delimiter] = list(islice(records(file, delimiter), SNIFFED_RECORDS))
        if not found[delimiter]:
            return None

    def score(delimiter: str) -> tuple[bool, int]:
        widths = [len(fields) for _, fields in found[delimiter]]
        return widths[0] > 1 and len(set(widths)) == 1, widths[0]

    best = max(found, key=score)
    line, header = found[best][0]
    cells = [field.strip() for _, fields in found[best][1:] for field in fields]
    has_comma = best == ";" and any(DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    comma = has_comma and not any(DECIMAL_POINT.fullmatch(cell) for cell in cells)
    return Dialect(best, "," if comma else ".", tuple(header), line, encoding)


def line_of_row(path: Location, row: int) -> int | None:
    """The line on which data row `row` (counting from 0) begins, or None where it cannot be found any more.

    Reads the file up to that row: only for a message about a row that is already known to be wrong.
    """
    try:
        # Only its lines matter: a file in an encoding that was given is read with some letters replaced.
        dialect = sniff(path, errors="replace")
        if dialect is None:
            return None
        with open_text(path, dialect.encoding, "replace") as file:
            # Row 0 is the record after the header.
            found = next(islice(records(file, dialect.delimiter), row + 1, None), None)
    except (OSError, EOFError, ValueError, csv.Error):
        return None
    return None if found is None else found[0]


def find_ragged_row(path: Location, dialect: Dialect) -> RaggedRow | None:
    """The first row that has more or fewer fields than the header, or whose last quote is never closed."""
    expected = len(dialect.header)
    line = 0
    try:
        with open_text(path, dialect.encoding) as file:
            for line, fields in records(file, dialect.delimiter):
                if len(fields) != expected:
                    last = next(records(file, dialect.delimiter), None) is None
                    return RaggedRow(line, len(fields), expected, last and any("\n" in f for f in fields))
        with open_text(path, dialect.encoding) as file:
            reader = csv.reader(file, delimiter=dialect.delimiter, strict=True)
            line = 1
            for _ in reader:
                line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return RaggedRow(line, expected, expected, unclosed=True)
    return None


def find_undecodable_line(path: Location, encoding: str) -> int | None:
    """The first line that is not in the encoding, or None where every line is."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open_bytes(path) as file:
        while True:
            block = file.read(BLOCK_BYTES)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            if not block:
                return None


def count_lines(path: Location) -> int:
    """Of the file; a record may have several."""
    lines = 0
    with open_bytes(path) as file:
        while block := file.read(BLOCK_BYTES):
            lines += block.count(b"\n")
    return lines + 1
