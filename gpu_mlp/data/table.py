"""Table: named columns of numbers or text, and the words for where in its source a value stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_mlp.data import csv_text
from gpu_mlp.data.locations import Location
from gpu_mlp.data.messages import column_hint, listed, quoted, shown_path
from gpu_mlp.errors import DataError

__all__ = [
    "KINDS",
    "Column",
    "Table",
    "check_names",
    "kept_names",
    "refuse_no_column",
    "refuse_no_rows",
]

Column = NDArray[Any]

KINDS = ("numeric", "integer", "boolean", "text", "date")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length, in order.

    Attributes:
        columns: name -> (N,) array: float64 with NaN where a value is missing, or objects `str | None`.
        origin: what messages call the table: a file's name, 'DataFrame', 'array'.
        path: the file it was read from, or None.
        kinds: name -> 'numeric', 'integer' (whole numbers, none missing, exact in float64), 'boolean' (0.0
            and 1.0), 'date' (seconds since 1970) or 'text' (objects). Left out, it is told from the arrays.
        source_rows: for a table made by `select`, the row of the source each row came from.
    """

    columns: Mapping[str, Column]
    origin: str
    path: Location | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    source_rows: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        told = {name: "text" if array.dtype == object else "numeric" for name, array in self.columns.items()}
        object.__setattr__(self, "kinds", {**told, **self.kinds})

    @property
    def rows(self) -> int:
        """N, the number of rows."""
        return next((len(array) for array in self.columns.values()), 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self.columns)

    @property
    def shown_origin(self) -> str:
        """`origin`, escaped where it would not print."""
        return shown_path(self.origin)

    def is_numeric(self, name: str) -> bool:
        """Whether the column is an array of float64 (numbers, booleans and dates), not of text."""
        self._require([name])
        return self.kinds[name] != "text"

    def column(self, name: str) -> Column:
        """The column's array, (N,). Raises DataError, with the nearest name, where there is none."""
        self._require([name])
        return self.columns[name]

    def select(self, row_indices: ArrayLike) -> Table:
        """The rows at these indices (or where this boolean mask is true), in that order."""
        chosen = np.asarray(row_indices)
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        columns = {name: array[rows] for name, array in self.columns.items()}
        source_rows = rows if self.source_rows is None else self.source_rows[rows]
        return Table(columns, self.origin, self.path, self.kinds, source_rows)

    def without(self, names: Collection[str]) -> Table:
        """The table without these columns. Raises DataError where one of them does not exist."""
        self._require(names)
        columns = {name: array for name, array in self.columns.items() if name not in names}
        kinds = {name: self.kinds[name] for name in columns}
        return Table(columns, self.origin, self.path, kinds, self.source_rows)

    def place(self, row: int, column: str | None = None) -> str:
        """Where a value stands, such as "train.csv, line 18, column 'age'"; rows are said counting from 1.

        A CSV is read again up to that row to find its line, so this is for messages only.
        """
        source = int(row if self.source_rows is None else self.source_rows[row])
        line = None
        if self.path is not None and csv_text.is_csv(self.path):
            line = csv_text.line_of_row(self.path, source)
        where = f"row {source + 1}" if line is None else f"line {line}"
        words = f"{self.shown_origin}, {where}"
        return words if column is None else f"{words}, column {quoted(column)}"

    def _require(self, names: Collection[str]) -> None:
        unknown = [name for name in names if name not in self.columns]
        if len(unknown) == 1:
            refuse_no_column(self.shown_origin, unknown[0], self.columns)
        if unknown:
            raise DataError(
                f"{self.shown_origin} has no columns {listed(unknown)}; it has {listed(self.columns)}"
            )


def kept_names(shown: str, names: Sequence[str], ignore: Collection[str], absent_ok: bool) -> tuple[str, ...]:
    """The names of a table's columns but for those that are ignored.

    Raises DataError for what `check_names` refuses, where one to ignore is absent though it may not be, and where none
    is left.
    """
    check_names(shown, names)
    for name in ignore:
        if name not in names and not absent_ok:
            raise DataError(f"{shown} has no column {quoted(name)} to ignore{column_hint(name, names)}")
    kept = tuple(name for name in names if name not in ignore)
    if not kept:
        raise DataError(
            f"{shown} has no columns left to read; ignore fewer of them or give a table with columns"
        )
    return kept


def refuse_no_rows(shown: str, names: Sequence[str]) -> NoReturn:
    """Raise DataError for a table of these columns."""
    raise DataError(f"{shown} has columns ({listed(names)}) but no rows; add at least one row of values")


def refuse_no_column(shown: str, name: str, names: Collection[str]) -> NoReturn:
    """Raise DataError, with the nearest name, for one that is not among a table's."""
    raise DataError(f"{shown} has no column {quoted(name)}{column_hint(name, names)}")


def check_names(shown: str, names: Sequence[str], where: str = "") -> None:
    """Raise DataError where a column has no name, or two have the same; `where` follows the table's name."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name.strip():
            raise DataError(
                f"{shown}{where} has a column without a name, number {index + 1} of {len(names)}; "
                "name it in the header, or drop it (pandas: to_csv(..., index=False))"
            )
        if name in seen:
            raise DataError(
                f"{shown}{where} names columns {seen[name] + 1} and {index + 1} both {quoted(name)}; "
                "rename one of them, and check that there is a header"
            )
        seen[name] = index
