"""CSV as text: which delimiter a file uses, and on which line a row, a ragged row or a bad byte stands."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TextIO, cast

__all__ = [
    "Dialect",
    "RaggedRow",
    "find_ragged_row",
    "find_undecodable_line",
    "is_csv",
    "line_of_row",
    "sniff",
]

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
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


def is_csv(path: Path) -> bool:
    """Whether the file's name says that it holds delimited text, compressed by gzip or not."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(CSV_SUFFIXES)


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed where its name ends in .gz."""
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.name.lower().endswith(".gz") else path.open("rb")


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file as UTF-8 text without its byte-order mark, its line ends left for the csv module."""
    limit = csv.field_size_limit(LONGEST_FIELD)  # an unclosed quote makes one field of the rest of the file
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield cast("TextIO", file)
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


def sniff(path: Path) -> Dialect | None:
    """Find the delimiter among comma, semicolon, tab and bar from the first records; None for a blank file.

    A delimiter that cuts every record into as many fields as the header wins, then the one that finds most
    fields in the header. A .tsv is always cut at tabs. Where the delimiter is a semicolon, and numbers such
    as 1,5 but none such as 1.5 occur, the decimal mark is the comma.
    Raises UnicodeDecodeError where these records are not UTF-8.
    """
    found: dict[str, list[tuple[int, list[str]]]] = {}
    is_tsv = path.name.lower().removesuffix(".gz").endswith(".tsv")
    for delimiter in ("\t",) if is_tsv else DELIMITERS:
        with open_text(path) as file:
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
    return Dialect(best, "," if comma else ".", tuple(header), line)


def line_of_row(path: Path, row: int) -> int | None:
    """The line on which data row `row` (counting from 0) begins, or None where it cannot be found any more.

    Reads the file up to that row: only for a message about a row that is already known to be wrong.
    """
    try:
        dialect = sniff(path)
        if dialect is None:
            return None
        with open_text(path) as file:
            # Row 0 is the record after the header.
            found = next(islice(records(file, dialect.delimiter), row + 1, None), None)
    except (OSError, EOFError, ValueError, csv.Error):
        return None
    return None if found is None else found[0]


def find_ragged_row(path: Path, dialect: Dialect) -> RaggedRow | None:
    """The first row that has more or fewer fields than the header, or whose last quote is never closed."""
    expected = len(dialect.header)
    line = 0
    try:
        with open_text(path) as file:
            for line, fields in records(file, dialect.delimiter):
                if len(fields) != expected:
                    last = next(records(file, dialect.delimiter), None) is None
                    return RaggedRow(line, len(fields), expected, last and any("\n" in f for f in fields))
        with open_text(path) as file:
            reader = csv.reader(file, delimiter=dialect.delimiter, strict=True)
            line = 1
            for _ in reader:
                line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return RaggedRow(line, expected, expected, unclosed=True)
    return None


def find_undecodable_line(path: Path) -> int | None:
    """The first line that is not UTF-8, or None where every line is."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None
