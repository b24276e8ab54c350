"""`survey`: one pass over a source, for all that must be known before it can be trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.column_survey import FeatureSurvey, KindChangedError, MisreadError
from gpu_mlp.data.drawn_split import SAMPLE, TEST, TRAIN, VALIDATION, DrawnSplit
from gpu_mlp.data.messages import quoted, shown_path
from gpu_mlp.data.misread_numbers import complaint_of_misread
from gpu_mlp.data.preparation import Preparation, check_some_features
from gpu_mlp.data.sources import TableSource
from gpu_mlp.data.table import Table, refuse_no_column
from gpu_mlp.data.target_survey import TargetSurvey
from gpu_mlp.data.targets import TaskChoice
from gpu_mlp.data.values import fail_at, missing_mask
from gpu_mlp.errors import DataError

__all__ = ["KeptRows", "Survey", "survey"]


@dataclass
class KeptRows:
    """The rows of one part that are kept in memory, and their random numbers."""

    parts: list[Table] = field(default_factory=list)
    numbers: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, batch: Table, numbers: NDArray[np.float64], chosen: NDArray[np.bool_]) -> None:
        """Of a batch."""
        if chosen.any():
            self.parts.append(batch.select(chosen))
            self.numbers.append(numbers[chosen])

    def table(self, split: DrawnSplit, part: int, kinds: dict[str, str]) -> Table | None:
        """Those that belong to the part in this split, as one table; None where there are none."""
        if not self.parts:
            return None
        first = self.parts[0]
        chosen = split.parts(np.concatenate(self.numbers)) == part
        columns = {
            name: np.concatenate([_as(each, name, kinds[name]) for each in self.parts])[chosen]
            for name in first.names
        }
        return Table(columns, first.origin, None, kinds) if chosen.any() else None


def _as(table: Table, name: str, kind: str) -> NDArray[np.generic]:
    """A column in the type of its kind: a batch where all of it is missing may have the other."""
    values = table.columns[name]
    if (values.dtype == object) == (kind == "text"):
        return values
    return np.full(len(values), None if kind == "text" else np.nan, object if kind == "text" else np.float64)


@dataclass
class Survey:
    """What was learnt.

    Attributes:
        source: with the columns read as text that turned out to be text.
        split: where the first row of each class trains.
        rows: of it.
        training_rows: of them.
        kept: the rows of all parts but TRAIN.
    """

    source: TableSource
    split: DrawnSplit
    target: TargetSurvey
    features: dict[str, FeatureSurvey]
    rows: int = 0
    training_rows: int = 0
    kept: dict[int, KeptRows] = field(
        default_factory=lambda: {part: KeptRows() for part in (VALIDATION, TEST, SAMPLE)}
    )

    @property
    def shown_origin(self) -> str:
        """What messages call the source."""
        return shown_path(self.source.origin)

    @property
    def kinds(self) -> dict[str, str]:
        """Of all columns."""
        kinds = {name: feature.kind.value for name, feature in self.features.items()}
        kinds[self.target.name] = self.target.kind.value
        return {name: kinds[name] or "numeric" for name in self.source.names}

    def table(self, part: int, split: DrawnSplit | None = None) -> Table | None:
        """The kept rows of a part, or those of them that are in it in a split with smaller parts."""
        return self.kept[part].table(self.split if split is None else split, part, self.kinds)

    def choose_task(self) -> TaskChoice:
        """As `Target.infer_task`. Raises DataError."""
        try:
            return self.target.choose(self.shown_origin)
        except MisreadError as error:
            fail_at_misread(self.source, error, "say --task classification if they are labels")

    def preparation(self) -> Preparation:
        """As `Preparation.fit` gives it, but for the median, which is the sample's. Raises DataError."""
        sample = self.table(SAMPLE)
        assert sample is not None
        shown, rows = self.shown_origin, self.training_rows
        return Preparation(tuple(each.feature(shown, sample, rows) for each in self.features.values()))

    def add(self, batch: Table) -> None:
        """Raises DataError, KindChangedError and MisreadError."""
        first = tuple(self.rows + row for row in self.target.new_values(batch))
        self.split = replace(self.split, first_of_class=self.split.first_of_class + first)
        numbers = self.split.numbers(self.rows, batch.rows)
        parts = self.split.parts(numbers)
        training = (parts == TRAIN) | (parts == SAMPLE)
        self.rows += batch.rows
        self.training_rows += int(training.sum())
        self.target.add(batch, training)
        for feature in self.features.values():
            feature.add(batch, training)
        for part, kept in self.kept.items():
            kept.add(batch, numbers, parts == part)


def survey(
    source: TableSource,
    target: str,
    split: DrawnSplit,
    *,
    task: str,
    counts: bool = False,
    report: Callable[[int], None] = lambda rows: None,
) -> Survey:
    """Read the source once; a second time where a column that was numbers turns out to be text.

    task and counts are as in `TargetSurvey`. report hears of the rows read so far. Raises DataError for whatever
    `Preparation.fit` and `Target.fit` refuse, and where the source has no rows.
    """
    shown = shown_path(source.origin)
    if target not in source.names:
        refuse_no_column(shown, target, source.names)
    features = [name for name in source.names if name != target]
    check_some_features(shown, features)
    text: set[str] = set()
    while True:
        found = Survey(
            source.with_text(text) if text else source,
            split,
            TargetSurvey(target, task, counts=counts),
            {name: FeatureSurvey(name) for name in features},
        )
        try:
            _read(found, report)
        except KindChangedError as changed:
            text.add(changed.name)
            continue
        except MisreadError as error:
            advice = f"leave the column out with --ignore {quoted(error.name)}"
            fail_at_misread(found.source, error, advice)
        return found


def _read(found: Survey, report: Callable[[int], None]) -> None:
    for batch in found.source.batches():
        found.add(batch)
        report(found.rows)
    for feature in found.features.values():
        feature.refuse_misread()


def fail_at_misread(source: TableSource, error: MisreadError, advice: str) -> NoReturn:
    """Raise DataError at the first row whose text makes a column of numbers text."""
    for batch in source.batches():
        values = batch.columns[error.name]
        odd = ~missing_mask(values) & ~np.isin(values.astype(str), list(error.words))
        if odd.any():
            row = int(np.argmax(odd))
            fail_at(batch, row, error.name, f"{complaint_of_misread(values[row])}, or {advice}")
    raise DataError(f"{shown_path(source.origin)} has changed; leave it as it is while it is read")
