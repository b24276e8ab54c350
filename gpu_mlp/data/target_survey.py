"""What is learnt of the target's column while the batches of a source go by."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from gpu_mlp.data.column_survey import ColumnKind, Mask, MisreadError
from gpu_mlp.data.misread_numbers import plain_numbers
from gpu_mlp.data.moments import Moments
from gpu_mlp.data.table import Table
from gpu_mlp.data.targets import (
    MOST_CLASSES,
    MOST_INTEGER_CLASSES,
    Target,
    TaskChoice,
    check_present,
    check_rarity,
    choose_task,
    is_few,
    refuse_many_classes,
    require_counts,
)
from gpu_mlp.data.values import check_range, missing_mask, numbers_of

__all__ = ["TargetSurvey"]

MANY = f"more than {MOST_CLASSES}"


class TargetSurvey:
    """What `Target.infer_task` and `Target.fit` learn: of all rows, and the mean and scale of the training rows.

    Args:
        name: the column.
        task: "classification", "regression", or "auto".
        counts: whether its values must be counts.
    """

    def __init__(self, name: str, task: str, *, counts: bool) -> None:
        self.name, self.task, self._counts = name, task, counts
        advice = (
            "or leave its row out"
            if task == "regression"
            else "or say --task classification if they are labels"
        )
        self.kind = ColumnKind(name, advice)
        self.moments = Moments()
        self.rows = 0
        self._values: Counter[Any] = Counter()
        self._many = False  # more different values than there can be classes
        self._whole = True

    def add(self, batch: Table, training: Mask) -> None:
        """Raises DataError and KindChangedError."""
        check_present(batch, self.name)
        values = batch.columns[self.name]
        if self._counts:
            require_counts(batch, self.name)
        self.rows += batch.rows
        is_text = batch.kinds[self.name] == "text"
        if not (is_text and self.task == "regression"):  # whose numbers may be written as text
            self.kind.add(batch, missing_mask(values))
        if self.task == "regression" or not is_text:
            kind = "numeric" if is_text else batch.kinds[self.name]
            numbers = numbers_of(batch, self.name, kind=kind, wanted="a regression needs numbers")
            check_range(batch, self.name, numbers)
            self.moments += Moments.of(numbers[training])
            self._whole = self._whole and bool(np.equal(numbers, np.round(numbers)).all())
        if self.task != "regression" and not self._many:
            self._values.update(values.tolist())
            self._many = len(self._values) > MOST_CLASSES

    def new_values(self, batch: Table) -> list[int]:
        """The first row in the batch of each value that no batch before had, where values may be classes."""
        most = {"regression": 0, "classification": MOST_CLASSES}.get(self.task)
        if most is None:
            most = {"numeric": 0, "date": 0, "integer": MOST_INTEGER_CLASSES}.get(
                batch.kinds[self.name], MOST_CLASSES
            )
        values = batch.columns[self.name].tolist() if most else []
        new = set(values) - self._values.keys()
        if len(new) + len(self._values) > most:
            return []
        return sorted(values.index(value) for value in new if value is not None and value == value)

    def choose(self, shown: str) -> TaskChoice:
        """The task of "auto". Raises DataError and MisreadError for text that is hardly labels."""
        kind, count = self.kind.value, len(self._values)
        if kind == "text":
            plain = plain_numbers(self._values)
            if plain is not None:
                raise MisreadError(self.name, plain)
            check_rarity(shown, self.name, count, self.rows, next(iter(self._values)))
        return choose_task(
            self.name,
            kind,
            different=MANY if self._many else str(count),
            few=is_few(count, self.rows) and not self._many,
            rows=self.rows,
            whole=kind == "numeric" and self._whole,
        )

    def target(self, shown: str, task: str, *, standardise: bool) -> Target:
        """What `Target.fit` would learn. Raises DataError where that is refused."""
        if task == "regression":
            mean, scale = self.moments.mean_and_scale if standardise else (0.0, 1.0)
            return Target(self.name, "regression", (), mean, scale)
        if self._many:
            refuse_many_classes(shown, self.name, MANY)
        # Every different value once; the first row of each trains, so none is without a row to train on.
        kind = self.kind.value
        values = np.array(sorted(self._values), dtype=object if kind == "text" else np.float64)
        return Target.fit(Table({self.name: values}, shown, None, {self.name: kind}), self.name, task)
