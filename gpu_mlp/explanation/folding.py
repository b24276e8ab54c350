"""Which rows and columns of a large matrix are shown, and how the rest is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Fold", "FoldedMatrix", "fold", "fold_matrix"]


@dataclass(frozen=True)
class Fold:
    """Of `size` places those at `shown` are shown; between the last two of these `left_out` are not."""

    size: int
    shown: tuple[int, ...]

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.size - len(self.shown)


def fold(size: int, most: int) -> Fold:
    """All places, or the first ones and the last, `most` in all."""
    if size <= most:
        return Fold(size, tuple(range(size)))
    return Fold(size, (*range(most - 1), size - 1))


@dataclass(frozen=True)
class FoldedMatrix:
    """The numbers that are shown: a list for every line, None where columns, or a whole line of rows, are left out."""

    rows: Fold
    columns: Fold
    lines: list[list[float | None] | None]


def fold_matrix(values: NDArray[Any], most_rows: int, most_columns: int) -> FoldedMatrix:
    """A matrix of at most so many rows and columns, and its gaps before the last of them."""
    rows, columns = fold(values.shape[0], most_rows), fold(values.shape[1], most_columns)
    lines: list[list[float | None] | None] = []
    for i in rows.shown:
        line: list[float | None] = [float(values[i, j]) for j in columns.shown]
        if columns.left_out:
            line.insert(-1, None)
        lines.append(line)
    if rows.left_out:
        lines.insert(-1, None)
    return FoldedMatrix(rows, columns, lines)
