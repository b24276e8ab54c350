"""The values of one column: numbers told from text and back, and the checks every number must pass."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.messages import quoted
from gpu_mlp.data.table import Column, Table
from gpu_mlp.errors import DataError

__all__ = [
    "EXACT_INTEGER",
    "FLOAT32_MAX",
    "check_range",
    "fail_at",
    "missing_mask",
    "numbers_of",
    "parse_number",
    "parse_numbers",
    "spell",
    "spell_number",
    "texts_of",
]

Floats = NDArray[np.float64]

FLOAT32_MAX = float(np.finfo(np.float32).max)
# Every integer of at most this size is a float64 of its own.
EXACT_INTEGER = 2**53

TRUTH = {"true": 1.0, "false": 0.0}
TRUE_AND_FALSE = (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))


def missing_mask(values: Column) -> NDArray[np.bool_]:
    """(N,) true where a value of a column is missing: NaN among numbers, None in text."""
    if values.dtype != object:
        return np.isnan(values)
    return np.fromiter((value is None for value in values), bool, len(values))


def fail_at(table: Table, row: int, name: str, complaint: str) -> NoReturn:
    """Raise DataError with the place of the value and then the complaint."""
    raise DataError(f"{table.place(row, name)} {complaint}")


def check_range(table: Table, name: str, values: Floats) -> None:
    """Raise DataError at the first value that is infinite or beyond float32; missing values pass."""
    wrong = np.abs(values) > FLOAT32_MAX  # true for infinity, false for NaN
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    if math.isinf(values[row]):
        fail_at(
            table, row, name, f"holds {values[row]}, but a finite number is needed; correct or remove the row"
        )
    fail_at(
        table,
        row,
        name,
        f"holds {float(values[row])!r}, which is beyond float32's {FLOAT32_MAX:.4g}; rescale the column",
    )


def parse_numbers(texts: Column, *, truth: bool = False) -> tuple[Floats, int | None]:
    """Read text as numbers: (N,) float64 with NaN where missing, and the first row that is none, or None.

    With `truth`, 'true' and 'false' in any case read as 1 and 0.
    """
    numbers = {text: _number(text, truth) for text in set(texts.tolist())}
    bad = {text for text, number in numbers.items() if number is None}
    if bad:
        row = next(row for row, text in enumerate(texts) if text in bad)
        return np.full(len(texts), math.nan), row
    return np.fromiter(map(numbers.__getitem__, texts), np.float64, len(texts)), None


def _number(text: str | None, truth: bool) -> float | None:
    if text is None:
        return math.nan
    if truth and text.strip().lower() in TRUTH:
        return TRUTH[text.strip().lower()]
    return parse_number(text)


def parse_number(text: str) -> float | None:
    """The number that a text is, or None."""
    if "_" in text:  # Python reads 1_000 as a number; no CSV reader does
        return None
    try:
        return float(text)
    except ValueError:
        return None


def spell_number(value: float) -> str:
    """A number the way a CSV would spell it: 3.0 as '3', 2.5 as '2.5'."""
    whole = value.is_integer() and abs(value) <= EXACT_INTEGER
    return str(int(value)) if whole else repr(float(value))


def spell(numbers: Floats) -> NDArray[Any]:
    """(N,) objects: each number spelled, None where missing."""
    distinct, inverse = np.unique(numbers, return_inverse=True)
    words = np.array([None if math.isnan(v) else spell_number(float(v)) for v in distinct], dtype=object)
    return words[inverse] if len(words) else np.empty(0, dtype=object)


def text_where_numbers(table: Table, row: int, name: str, *, wanted: str) -> NoReturn:
    """Raise DataError for text at `row` of a column that must hold numbers."""
    value = quoted(table.columns[name][row])
    fail_at(table, row, name, f"holds {value}, but {wanted}; correct the value or remove the row")


def numbers_of(table: Table, name: str, *, kind: str, wanted: str) -> Floats:
    """A column as (N,) float64, NaN where missing; text is accepted where every value of it is a number.

    `kind` is the kind the column had in training: dates stay dates and numbers numbers, but for a bare
    array, which has no dates. Raises DataError at the first value that does not fit; `wanted` says why.
    """
    values = table.columns[name]
    given = table.kinds[name]
    fits = (given == "date") == (kind == "date") or table.origin == "array"
    if given != "text" and fits:
        return np.asarray(values, dtype=np.float64)
    if missing_mask(values).all():
        return np.full(len(values), math.nan)
    if given == "text":
        first = int(np.argmin(missing_mask(values)))
        numbers, bad = (
            (np.empty(0), first) if kind == "date" else parse_numbers(values, truth=kind == "boolean")
        )
        if bad is not None:
            wanted = "training had dates in this column" if kind == "date" else wanted
            text_where_numbers(table, bad, name, wanted=wanted)
        return numbers
    had, has = ("dates", "a number") if kind == "date" else ("numbers", "a date")
    row = int(np.argmin(missing_mask(values)))
    fail_at(table, row, name, f"holds {has}, but training had {had} in this column; correct the column")


def texts_of(table: Table, name: str, known: Collection[str]) -> NDArray[Any]:
    """A column as (N,) objects `str | None`: numbers spelled as a CSV would, booleans as `known` spells them.

    Raises DataError for dates, whose spelling is lost.
    """
    values = table.columns[name]
    given = table.kinds[name]
    if given == "text":
        return values
    if given == "date" and not missing_mask(values).all():
        row = int(np.argmin(missing_mask(values)))
        fail_at(
            table, row, name, "holds a date, but training had text in this column; give the dates as text"
        )
    if given == "boolean":
        spellings = [pair for pair in TRUE_AND_FALSE if pair[0] in known or pair[1] in known]
        true, false = (spellings or TRUE_AND_FALSE)[0]
        words = np.where(values == 1, true, false).astype(object)
        words[missing_mask(values)] = None
        return words
    return spell(values)
