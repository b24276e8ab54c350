"""Preparation: what training learnt about the feature columns, and a table's features as one matrix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpu_mlp.data.features import Feature, NumericFeature, TextFeature, check_some_values, fit_feature
from gpu_mlp.data.messages import listed, quoted
from gpu_mlp.data.misread_numbers import complaint_of_misread, misread_row
from gpu_mlp.data.table import Table
from gpu_mlp.data.values import FLOAT32_MAX, fail_at
from gpu_mlp.errors import DataError

__all__ = ["Preparation", "check_some_features"]

# Of some columns, which are standardised at once: as many as a batch of a source has.
VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Preparation:
    """How the feature columns of a table become the network's input, in order."""

    features: tuple[Feature, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the columns `transform` reads."""
        return tuple(feature.name for feature in self.features)

    @property
    def text_names(self) -> tuple[str, ...]:
        """The names of the text columns: for `read_table(..., as_text=...)`."""
        return tuple(feature.name for feature in self.features if isinstance(feature, TextFeature))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the columns of `transform`'s result: 'age', 'age is missing', 'colour=red'."""
        return tuple(name for feature in self.features for name in feature.output_names)

    @classmethod
    def fit(
        cls, table: Table, feature_names: Sequence[str], rows: NDArray[np.int64] | None = None
    ) -> Preparation:
        """Learn from the training rows, which are those with the indices `rows`, or all.

        Numeric, boolean and date columns: the median, and the mean and population standard deviation with
        the median in place of missing values, in float64 (1 for a constant column). Text: its categories,
        sorted. Raises DataError where a column is unknown, all missing, holds an infinity or a number
        beyond float32, has more than 1000 categories, or is text for a few values among numbers (in any row of
        the table), and where there are no columns.
        """
        check_some_features(table.shown_origin, feature_names)
        training = table if rows is None else table.select(rows)
        for name in feature_names:
            _check_no_misread_numbers(table, name)
            check_some_values(table, training, name)
        return cls(tuple(fit_feature(training, name) for name in feature_names))

    def transform(
        self, table: Table, dtype: DTypeLike = np.float32, *, also_allowed: Collection[str] = ()
    ) -> NDArray[Any]:
        """The features of `table`, (N, D) with D = len(output_names), C-contiguous.

        `also_allowed` names columns, such as the target, that may be there besides the features. A bare
        2-D array is taken by position. Raises DataError where columns are missing or unexpected, and where
        a value is infinite, overflows, or is text where training had numbers.
        """
        sources = self._sources(table, also_allowed)
        result = np.empty((table.rows, len(self.output_names)), dtype)
        start = 0
        for together in _runs(list(zip(self.features, sources, strict=True))):
            stop = start + sum(len(feature.output_names) for feature, _ in together)
            _fill(table, together, result[:, start:stop])
            start = stop
        return result

    def _sources(self, table: Table, also_allowed: Collection[str]) -> tuple[str, ...]:
        """The table's name of each feature: its own, or by position for an array."""
        if table.origin == "array" and not self.text_names:
            if len(table.names) != len(self.features):
                raise DataError(
                    f"the array has {len(table.names)} columns, but training had {len(self.features)} "
                    f"features ({listed(self.input_names)}); give them in that order"
                )
            return table.names
        wanted = self.input_names
        absent = [name for name in wanted if name not in table.columns]
        if absent:
            near = get_close_matches(absent[0], table.names, n=1) if len(absent) == 1 else []
            plural, hint = ("s", "; add them") if len(absent) > 1 else ("", "; add it")
            if near:
                hint = f"; rename {quoted(near[0])} if that is it, or add it"
            raise DataError(
                f"{table.shown_origin} lacks the column{plural} {listed(absent)} that training had{hint}"
            )
        allowed = {*wanted, *also_allowed}
        extra = [name for name in table.names if name not in allowed]
        if extra:
            plural, them = ("s", "them") if len(extra) > 1 else ("", "it")
            raise DataError(
                f"{table.shown_origin} has the column{plural} {listed(extra)} that training did not have; "
                f"remove {them}"
            )
        return wanted

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` gives back an equal Preparation."""
        return {"features": [{"type": _TYPES[type(feature)], **asdict(feature)} for feature in self.features]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preparation:
        """The Preparation that `to_dict` described. Raises DataError where the description is damaged."""
        try:
            return cls(tuple(_feature_from(entry) for entry in data["features"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"the description of the features is damaged ({type(error).__name__}: {error}); "
                "train the model again"
            ) from None


def check_some_features(shown: str, names: Sequence[str]) -> None:
    """Raise DataError where there are no feature columns."""
    if not names:
        raise DataError(f"{shown} has no feature columns left; ignore fewer of its columns")


def _runs(features: list[tuple[Feature, str]]) -> list[list[tuple[Feature, str]]]:
    """Numeric features side by side that have one column each are taken together, others one by one."""
    runs: list[list[tuple[Feature, str]]] = []
    for feature, name in features:
        if runs and _is_plain(feature) and _is_plain(runs[-1][0][0]):
            runs[-1].append((feature, name))
        else:
            runs.append([(feature, name)])
    return runs


def _is_plain(feature: Feature) -> bool:
    return isinstance(feature, NumericFeature) and not feature.indicator


def _fill(table: Table, run: list[tuple[Feature, str]], out: NDArray[Any]) -> None:
    """Write the columns of a run into `out`: all at once, or else one by one, which says what is wrong with which."""
    numeric = [(feature, name) for feature, name in run if _is_plain(feature)]
    if len(numeric) == len(run) and _fill_together(table, numeric, out):
        return
    start = 0
    for feature, name in run:
        stop = start + len(feature.output_names)
        feature.fill(table, name, out[:, start:stop])
        start = stop


def _fill_together(table: Table, run: list[tuple[Any, str]], out: NDArray[Any]) -> bool:
    """Write numeric columns, some rows of all at a time; False where a value is missing or too large.

    That is told by the smallest and the largest of each, which are NaN where a value is.
    """
    columns = [feature.values(table, name) for feature, name in run]
    mean, scale = (np.array([[getattr(feature, of)] for feature, _ in run]) for of in ("mean", "scale"))
    rows_at_once = max(VALUES_AT_ONCE // len(columns), 1)
    for start in range(0, table.rows, rows_at_once):
        rows = slice(start, start + rows_at_once)
        values = np.stack([column[rows] for column in columns])
        ends = np.column_stack([values.min(axis=1), values.max(axis=1)])
        with np.errstate(over="ignore", invalid="ignore"):
            standardised = np.abs((ends - mean) / scale)
        if not ((np.abs(ends) <= FLOAT32_MAX).all() and (standardised <= np.finfo(out.dtype).max).all()):
            return False
        values -= mean
        values /= scale
        out[rows] = values.T
    return True


_TYPES: dict[type, str] = {NumericFeature: "numeric", TextFeature: "text"}


def _feature_from(entry: Mapping[str, Any]) -> Feature:
    if entry["type"] == "text":
        return TextFeature(entry["name"], tuple(entry["categories"]), bool(entry["missing"]))
    if entry["type"] != "numeric":
        raise ValueError(f"unknown type {entry['type']!r}")
    numbers = {key: float(entry[key]) for key in ("median", "mean", "scale")}
    return NumericFeature(entry["name"], entry["kind"], indicator=bool(entry["indicator"]), **numbers)


def _check_no_misread_numbers(table: Table, name: str) -> None:
    values = table.column(name)
    row = misread_row(table, name)
    if row is not None:
        complaint = complaint_of_misread(values[row])
        fail_at(table, row, name, f"{complaint}, or leave the column out with --ignore {quoted(name)}")
