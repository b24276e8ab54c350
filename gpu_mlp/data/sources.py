"""`TableSource`: a table that is read some rows at a time, as often as asked, so that it may be larger than memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gpu_mlp.data.csv_text import known_encoding
from gpu_mlp.data.file_batches import FileBatches, open_batches, rows_at_once
from gpu_mlp.data.files import check_same_columns, files_in
from gpu_mlp.data.locations import Location, located
from gpu_mlp.data.messages import shown_path
from gpu_mlp.data.reading import build_table, read_table
from gpu_mlp.data.table import Table, kept_names, refuse_no_rows
from gpu_mlp.data.values import texts_of
from gpu_mlp.errors import DataError

__all__ = ["TableSource", "open_source"]


class TableSource(Protocol):
    """A table whose rows come in the same order each time.

    Attributes:
        origin: what messages call it.
        names: of its columns, ignored ones left out.
        rows_at_most: how many rows it has, or a few more.
        bytes_held: of it that are in memory all the time.
    """

    @property
    def origin(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def rows_at_most(self) -> int: ...

    @property
    def bytes_held(self) -> int: ...

    def batches(self) -> Iterator[Table]:
        """All rows, some at a time; each batch knows where in which file it stands.

        A column's kind is told from the rows of its batch. Raises DataError where the source cannot be read, or has
        other columns than at first.
        """

    def with_text(self, names: Collection[str]) -> TableSource:
        """The same rows, these columns read as text too, as they are written."""


def open_source(
    source: Any,
    *,
    ignore: Collection[str] = (),
    absent_ok: bool = False,
    as_text: Collection[str] = (),
    encoding: str | None = None,
) -> TableSource:
    """What `read_table` reads, some rows at a time: files stay where they are, all else is in memory anyway.

    The arguments are those of `read_table`, and so are the errors.
    """
    if not isinstance(source, (str, Path)):
        return _Memory(read_table(source, ignore=ignore, absent_ok=absent_ok, as_text=as_text))
    path = located(source)
    encoding = None if encoding is None else known_encoding(encoding)
    paths = files_in(path) if path.is_dir() else [path]
    return _Files(path.name, tuple(paths), tuple(ignore), absent_ok, frozenset(as_text), encoding)


@dataclass
class _Files:
    """One file, or those of a folder."""

    origin: str
    paths: tuple[Location, ...]
    ignore: tuple[str, ...]
    absent_ok: bool
    as_text: frozenset[str]
    encoding: str | None
    names: tuple[str, ...] = ()
    # What was learnt of a file in one pass serves the next.
    _opened: dict[Location, FileBatches] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = self._open(self.paths[0])
        self.names = kept_names(shown_path(self.origin), first.names, self.ignore, self.absent_ok)

    @property
    def rows_at_most(self) -> int:
        return sum(self._open(path).rows_at_most for path in self.paths)

    @property
    def bytes_held(self) -> int:
        return sum(self._open(path).bytes_held for path in self.paths)

    def batches(self) -> Iterator[Table]:
        rows = 0
        for path in self.paths:
            file, first_row = self._open(path), 0
            for columns in file.batches():
                self._check_columns(path, list(columns))
                table = self._table(path, columns, first_row)
                if table is not None:
                    first_row += table.rows
                    yield table
            rows += first_row
        if not rows:
            refuse_no_rows(shown_path(self.origin), self.names)

    def with_text(self, names: Collection[str]) -> _Files:
        as_text = self.as_text | frozenset(names)
        return _Files(self.origin, self.paths, self.ignore, self.absent_ok, as_text, self.encoding)

    def _open(self, path: Location) -> FileBatches:
        if path not in self._opened:
            file = open_batches(path, self.as_text, self.encoding)
            if self.names:
                self._check_columns(path, list(file.names))
            self._opened[path] = file
        return self._opened[path]

    def _check_columns(self, path: Location, names: list[str]) -> None:
        given = [name for name in names if name not in self.ignore]
        if path == self.paths[0] and set(given) != set(self.names):
            raise DataError(
                f"{shown_path(path)} has other columns than when it was opened; leave it as it is while it is read"
            )
        check_same_columns(path, given, self.paths[0], self.names)

    def _table(self, path: Location, columns: Mapping[str, Any], first_row: int) -> Table | None:
        """A batch in the order of the first file's columns, or None where it has no rows."""
        series = [columns[name] for name in self.names]
        if not len(series[0]):
            return None
        table = build_table(self.names, series, path.name, path, (), False, first_row)
        return _respelled(table, self.as_text)


@dataclass
class _Memory:
    """A table that is in memory."""

    table: Table
    as_text: frozenset[str] = frozenset()

    @property
    def origin(self) -> str:
        return self.table.origin

    @property
    def names(self) -> tuple[str, ...]:
        return self.table.names

    @property
    def rows_at_most(self) -> int:
        return self.table.rows

    bytes_held = 0  # what was given is not counted

    def batches(self) -> Iterator[Table]:
        rows = rows_at_once(len(self.names))
        for start in range(0, self.table.rows, rows):
            yield _respelled(
                self.table.select(range(start, min(start + rows, self.table.rows))), self.as_text
            )

    def with_text(self, names: Collection[str]) -> _Memory:
        return _Memory(self.table, self.as_text | frozenset(names))


def _respelled(table: Table, as_text: Collection[str]) -> Table:
    """The batch with these columns as text: of a CSV they are, other numbers are spelled."""
    spelled = {name: texts_of(table, name, ()) for name in as_text if table.kinds.get(name, "text") != "text"}
    if not spelled:
        return table
    kinds = {**table.kinds, **dict.fromkeys(spelled, "text")}
    return Table({**table.columns, **spelled}, table.origin, table.path, kinds, table.source_rows)
