"""split_rows: which rows train, which validate and which test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_mlp.errors import ConfigError, DataError

__all__ = ["Split", "check_fractions", "split_rows"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Row indices, ascending; every row is in exactly one of the three."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(n_rows: int, labels: ArrayLike | None, *, validation: float, test: float, seed: int) -> Split:
    """Split `n_rows` rows by the two fractions; what remains trains. The same seed gives the same split.

    A part is its fraction of the rows, rounded, and at least 1 row where the fraction is above 0. With
    `labels` (N,), the classes have about the same shares in every part, where each has at least 2 rows to
    share out and each part at least as many rows as there are classes; else the rows are drawn plainly. A class
    that only the held-out parts drew gives a row to train on, for one of the commonest class there.

    Raises ConfigError where the fractions are not in [0, 1) or leave nothing to train on, and DataError
    where there are too few rows.
    """
    check_fractions(validation, test)
    n_test, n_validation = (max(1, round(part * n_rows)) if part > 0 else 0 for part in (test, validation))
    needed = 1 + (n_test > 0) + (n_validation > 0)
    if n_rows < needed:
        raise DataError(
            f"the table has {n_rows} row{'s' if n_rows != 1 else ''}, but this split needs at "
            f"least {needed}; give more rows, or set --validation 0 and --test 0"
        )
    # Rounding may take the last row, but one is always left to train on.
    n_test = min(n_test, n_rows - needed + 1)
    n_validation = min(n_validation, n_rows - n_test - 1)
    classes = None if labels is None else np.asarray(labels).reshape(n_rows)
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    rest, test_rows = _cut(np.arange(n_rows), classes, n_test, random)
    train, validation_rows = _cut(rest, classes, n_validation, random)
    if classes is not None:
        _give_every_class_a_row(train, (validation_rows, test_rows), classes)
    return Split(*map(np.sort, (train, validation_rows, test_rows)))


def _give_every_class_a_row(train: Rows, held_out: tuple[Rows, ...], classes: NDArray[np.generic]) -> None:
    """Exchange rows, in place, until `train` has one of every class, or none to spare."""
    codes = np.unique(classes, return_inverse=True)[1]
    counts = np.bincount(codes[train], minlength=codes.max() + 1)
    for absent in np.flatnonzero(counts == 0):
        commonest = counts.argmax()
        if counts[commonest] < 2:
            return
        spare = np.flatnonzero(codes[train] == commonest)[-1]
        part = next(rows for rows in held_out if absent in codes[rows])
        place = np.flatnonzero(codes[part] == absent)[0]
        train[spare], part[place] = part[place], train[spare]
        counts[commonest] -= 1
        counts[absent] += 1


def check_fractions(validation: float, test: float) -> None:
    """Raise ConfigError where they are no fractions, or leave nothing to train on."""
    for flag, fraction in (("--validation", validation), ("--test", test)):
        if not 0 <= fraction < 1:  # also refuses NaN
            raise ConfigError(
                f"{flag} is {fraction}, but it is a fraction of the rows: give 0 or more, below 1"
            )
    if validation + test >= 1:
        raise ConfigError(
            f"--validation {validation} and --test {test} leave no rows to train on; make their sum below 1"
        )


def _cut(
    rows: Rows, classes: NDArray[np.generic] | None, size: int, random: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Draw `size` of `rows`, by class where that is possible: (the rest, the drawn), each ascending."""
    if size == 0:
        return rows, np.empty(0, dtype=np.int64)
    from sklearn.model_selection import train_test_split

    stratify = None
    if classes is not None:
        counts = np.unique(classes[rows], return_counts=True)[1]
        # What train_test_split demands of a stratified draw.
        if counts.min() >= 2 and min(size, len(rows) - size) >= len(counts):
            stratify = classes[rows]
    rest, drawn = train_test_split(rows, test_size=size, stratify=stratify, random_state=random)
    return np.sort(rest), np.sort(drawn)
