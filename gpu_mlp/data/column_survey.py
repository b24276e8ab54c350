"""What is learnt of one column while the batches of a source go by."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.features import (
    MOST_CATEGORIES,
    Feature,
    NumericFeature,
    refuse_empty,
    text_feature,
)
from gpu_mlp.data.messages import quoted
from gpu_mlp.data.misread_numbers import NEARLY_ALL, complaint_of_misread, plain_numbers
from gpu_mlp.data.moments import Moments
from gpu_mlp.data.table import Table
from gpu_mlp.data.values import check_range, fail_at, missing_mask, parse_number

__all__ = ["ColumnKind", "FeatureSurvey", "KindChangedError", "MisreadError"]

Mask = NDArray[np.bool_]

NUMBERS = ("integer", "numeric")


class KindChangedError(Exception):
    """The column was numbers, and now is text: it must be read again as text."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class MisreadError(Exception):
    """A column is one of numbers but for a few values; `words` are its numbers as they are written."""

    def __init__(self, name: str, words: set[str]) -> None:
        super().__init__(name)
        self.name, self.words = name, words


class ColumnKind:
    """The kind of a column in all batches so far; advice: how a complaint about text among numbers ends."""

    def __init__(self, name: str, advice: str) -> None:
        self.name, self._advice = name, advice
        self.value = ""
        self._present = 0

    def add(self, batch: Table, missing: Mask) -> None:
        """Raise KindChangedError where the column is text from here on, DataError where that is a mistake."""
        kind, present = batch.kinds[self.name], len(missing) - int(missing.sum())
        if present == 0:  # of no kind
            self.value = "numeric" if self.value == "integer" else self.value
        elif self.value in ("", kind):
            self.value = kind
        elif {self.value, kind} <= set(NUMBERS):
            self.value = "numeric"
        else:
            if kind == "text":
                self._refuse_misread(batch)
            raise KindChangedError(self.name)
        self._present += present

    def _refuse_misread(self, batch: Table) -> None:
        """Raise DataError at the first text where nearly all values so far, and here, are numbers."""
        words = batch.columns[self.name]
        odd = [row for row, word in enumerate(words) if word is not None and parse_number(word) is None]
        numbers = self._present + sum(word is not None for word in words) - len(odd)
        if self.value in NUMBERS and odd and numbers >= NEARLY_ALL * (numbers + len(odd)):
            fail_at(batch, odd[0], self.name, f"{complaint_of_misread(words[odd[0]])}, {self._advice}")


class FeatureSurvey:
    """What `Preparation.fit` learns of a feature column, from the training rows; text is looked at in all rows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = ColumnKind(name, f"or leave the column out with --ignore {quoted(name)}")
        self.moments = Moments()
        self.missing = self.held_out = 0
        self._words: Counter[str] = Counter()
        self._training_words: set[str] = set()

    def add(self, batch: Table, training: Mask) -> None:
        """Raises DataError, KindChangedError and MisreadError."""
        values = batch.columns[self.name]
        missing = missing_mask(values)
        self.kind.add(batch, missing)
        present = ~missing
        self.missing += int((missing & training).sum())
        self.held_out += int((present & ~training).sum())
        if not present.any():
            return
        if batch.kinds[self.name] == "text":
            self._words.update(values[present].tolist())
            self._training_words.update(values[present & training].tolist())
            self._check_words(batch.shown_origin)
            return
        check_range(batch, self.name, values)
        self.moments += Moments.of(values[present & training])

    def _check_words(self, shown: str) -> None:
        # A text may still come among what looks like numbers; but there is an end to memory.
        if len(self._words) > 10 * MOST_CATEGORIES:
            self.refuse_misread()
            text_feature(shown, self.name, self._words)

    def refuse_misread(self) -> None:
        """Raise MisreadError where a few texts stand among numbers."""
        plain = plain_numbers(self._words)
        if plain is not None:
            raise MisreadError(self.name, plain)

    def feature(self, shown: str, sample: Table, training_rows: int) -> Feature:
        """What was learnt; the median is the sample's. Raises DataError where that is too little or too much."""
        if not self.moments.count and not self._training_words:
            refuse_empty(shown, self.name, training_rows, self.held_out)
        if self.kind.value == "text":
            missing: set[str | None] = {None} if self.missing else set()
            return text_feature(shown, self.name, self._training_words | missing)
        values = sample.columns[self.name]
        known = values[~missing_mask(values)]
        median = float(np.median(known)) if len(known) else self.moments.mean
        mean, scale = (self.moments + Moments.repeated(median, self.missing)).mean_and_scale
        return NumericFeature(self.name, self.kind.value, median, self.missing > 0, mean, scale)
