"""One feature column: what training learnt about it, and its values as columns of the network's input."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.messages import quoted
from gpu_mlp.data.table import Column, Table
from gpu_mlp.data.values import check_range, fail_at, missing_mask, numbers_of, texts_of
from gpu_mlp.errors import DataError

__all__ = [
    "MOST_CATEGORIES",
    "Feature",
    "NumericFeature",
    "TextFeature",
    "check_some_values",
    "fit_feature",
    "mean_and_scale",
    "refuse_empty",
    "text_feature",
]

MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class NumericFeature:
    """A column of numbers: missing -> median, then (value - mean) / scale.

    `kind` is the column's kind in training; `indicator`: whether a second column says where it was missing.
    """

    name: str
    kind: str
    median: float
    indicator: bool
    mean: float
    scale: float

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the columns it becomes."""
        return (self.name, f"{self.name} is missing") if self.indicator else (self.name,)

    def values(self, table: Table, name: str) -> NDArray[np.float64]:
        """The column `name` of `table`, (N,), NaN where missing. Raises DataError where it is no such column."""
        return numbers_of(table, name, kind=self.kind, wanted="training had numbers in this column")

    def fill(self, table: Table, name: str, out: NDArray[Any]) -> None:
        """Write the column `name` of `table` into `out`, (N, 1) or (N, 2)."""
        values = self.values(table, name)
        check_range(table, name, values)
        missing = np.isnan(values)
        with np.errstate(over="ignore"):  # what overflows is refused below, with its place
            standardised = (np.where(missing, self.median, values) - self.mean) / self.scale
            out[:, 0] = standardised
        if not np.isfinite(out[:, 0]).all():
            row = int(np.argmin(np.isfinite(out[:, 0])))
            complaint = (
                f"holds {float(values[row])!r}, too far from the training rows (mean {self.mean:.6g}, scale "
                f"{self.scale:.6g}) for {out.dtype}; correct the value or rescale the column"
            )
            fail_at(table, row, name, complaint)
        if self.indicator:
            out[:, 1] = missing


@dataclass(frozen=True)
class TextFeature:
    """A column of text: one output column per category of training, then one for missing where it occurred.

    A category that training did not have, or a missing value where it had none, is zero in all of them.
    """

    name: str
    categories: tuple[str, ...]
    missing: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the columns it becomes."""
        names = tuple(f"{self.name}={category}" for category in self.categories)
        return (*names, f"{self.name} is missing") if self.missing else names

    def fill(self, table: Table, name: str, out: NDArray[Any]) -> None:
        """Write the column `name` of `table` into `out`, (N, categories [+ 1])."""
        known: dict[str | None, int] = {category: code for code, category in enumerate(self.categories)}
        if self.missing:
            known[None] = len(self.categories)
        values = texts_of(table, name, self.categories)
        codes = np.fromiter(map(known.get, values, repeat(-1)), np.int64, len(values))
        rows = np.flatnonzero(codes >= 0)
        out[:] = 0
        out[rows, codes[rows]] = 1


Feature = NumericFeature | TextFeature


def check_some_values(table: Table, training: Table, name: str) -> None:
    """Raise DataError where the training rows have no value in the column."""
    if not missing_mask(training.columns[name]).all():
        return
    elsewhere = int((~missing_mask(table.columns[name])).sum())
    refuse_empty(table.shown_origin, name, training.rows, elsewhere)


def refuse_empty(shown: str, name: str, training_rows: int, elsewhere: int) -> NoReturn:
    """Raise DataError for a column without a value in the training rows; elsewhere: how many it has in others."""
    has = (
        f"has no value in the {training_rows} training rows ({elsewhere} in the whole table)"
        if elsewhere
        else "has no values at all"
    )
    raise DataError(
        f"{shown}, column {quoted(name)} {has}; fill it in or leave it out with --ignore {quoted(name)}"
    )


def fit_feature(table: Table, name: str) -> Feature:
    values = table.columns[name]
    missing = missing_mask(values)
    if table.kinds[name] == "text":
        return _fit_text(table, name, values)
    check_range(table, name, values)
    median = float(np.median(values[~missing]))
    mean, scale = mean_and_scale(np.where(missing, median, values))
    return NumericFeature(name, table.kinds[name], median, bool(missing.any()), mean, scale)


def _fit_text(table: Table, name: str, values: Column) -> TextFeature:
    return text_feature(table.shown_origin, name, set(values.tolist()))


def text_feature(shown: str, name: str, distinct: Collection[str | None]) -> TextFeature:
    """Of the different values of a column. Raises DataError where they are too many."""
    categories = tuple(sorted(word for word in distinct if word is not None))
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"{shown}, column {quoted(name)} has {len(categories)} different texts, but at most "
            f"{MOST_CATEGORIES} can become categories; leave it out with --ignore {quoted(name)}"
        )
    return TextFeature(name, categories, None in distinct)


def mean_and_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean and the population standard deviation of (N,) numbers; of a constant, itself and 1."""
    if values.min() == values.max():  # their rounded mean may differ from them, and divide by almost nothing
        return float(values[0]), 1.0
    mean = float(values.mean())
    deviations = values - mean
    largest = float(np.abs(deviations).max())
    # Divided by the largest, no square underflows or overflows.
    scale = largest * math.sqrt(float(np.square(deviations / largest).mean()))
    return mean, scale or 1.0
