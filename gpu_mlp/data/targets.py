"""Target: the column to predict, as class labels or as standardised numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpu_mlp.data.features import mean_and_scale
from gpu_mlp.data.messages import listed, quoted
from gpu_mlp.data.misread_numbers import complaint_of_misread, misread_row
from gpu_mlp.data.table import Table
from gpu_mlp.data.values import (
    check_range,
    fail_at,
    missing_mask,
    numbers_of,
    spell_number,
    texts_of,
)
from gpu_mlp.errors import ConfigError, DataError, did_you_mean

__all__ = [
    "Target",
    "TaskChoice",
    "check_present",
    "check_rarity",
    "choose_task",
    "is_few",
    "refuse_many_classes",
    "require_counts",
]

Task = Literal["classification", "regression"]
Label = str | int | float | bool

MOST_CLASSES = 1000
MOST_INTEGER_CLASSES = 20
# From this many on, texts of which each occurs less than twice on average are no labels.
MOST_RARE_LABELS = 20


class TaskChoice(NamedTuple):
    """A task and the sentence that says why it was chosen."""

    task: Task
    reason: str


@dataclass(frozen=True)
class Target:
    """The target column as training saw it.

    Attributes:
        name: the column.
        task: 'classification' or 'regression'.
        classes: the labels, sorted, of one type; empty for a regression.
        mean, scale: what a regression's values were standardised by; 0 and 1 for a classification.
    """

    name: str
    task: Task
    classes: tuple[Label, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @staticmethod
    def infer_task(table: Table, name: str) -> TaskChoice:
        """Choose the task from the column: text and booleans are classes, most numbers are not.

        Whole numbers are classes where there are at most 20 different ones and each occurs at least twice
        on average. Raises DataError where there is no such column, where text is a column of numbers but for a
        few values, and where more than 20 different texts occur less than twice on average.
        """
        values, kind = table.column(name), table.kinds[name]
        if kind == "text":
            _check_labels(table, name)
        count = len(np.unique(values)) if kind == "integer" else 0
        whole = kind == "numeric" and bool(np.equal(values, np.round(values)).all())
        return choose_task(
            name, kind, different=str(count), few=is_few(count, table.rows), rows=table.rows, whole=whole
        )

    @classmethod
    def fit(cls, table: Table, name: str, task: str = "auto", standardise: bool = True) -> Target:
        """Learn the classes, or the mean and the population standard deviation (1 for a constant column).

        `standardise=False` keeps a regression's values as they are, for a loss on counts. Raises ConfigError
        for an unknown task, and DataError for an unknown column, a missing, infinite or overflowing value,
        text in a regression, fewer than 2 classes and more than 1000.
        """
        if task not in ("auto", "classification", "regression"):
            known = ("auto", "classification", "regression")
            raise ConfigError(f"the task {quoted(task)} is unknown{did_you_mean(task, known)}")
        table.column(name)
        check_present(table, name)
        if task == "auto":
            task = cls.infer_task(table, name).task
        if task == "classification":
            return cls(name, "classification", _classes(table, name))
        values = numbers_of(table, name, kind=table.kinds[name], wanted="a regression needs numbers")
        check_range(table, name, values)
        mean, scale = mean_and_scale(values) if standardise else (0.0, 1.0)
        return cls(name, "regression", (), mean, scale)

    def require_every_class(self, labels: NDArray[np.int64]) -> None:
        """Raise DataError where a class is not among the training rows' labels: they are fewer than the classes."""
        absent = np.setdiff1d(np.arange(len(self.classes)), labels)
        if len(absent):
            raise DataError(
                f"column {quoted(self.name)} has {len(self.classes)} classes, but {len(labels)} rows are left to train "
                f"on, none of them of class {quoted(self.classes[absent[0]])}; "
                "give more rows, or smaller --validation and --test"
            )

    @property
    def text_names(self) -> tuple[str, ...]:
        """The column's name where its labels are text, else nothing: for `read_table(..., as_text=...)`."""
        return (self.name,) if self.classes and isinstance(self.classes[0], str) else ()

    def encode(self, table: Table) -> NDArray[Any]:
        """The column as int64 labels (N,), or as standardised float64 (N, 1).

        Raises DataError where the column is absent or a value is missing, no number, not finite, or a label
        that training did not have.
        """
        table.column(self.name)
        check_present(table, self.name)
        if self.task == "classification":
            return self._encode_labels(table)
        kind = "numeric" if table.kinds[self.name] == "text" else table.kinds[self.name]
        values = numbers_of(table, self.name, kind=kind, wanted="training had numbers in this column")
        check_range(table, self.name, values)
        standardised: NDArray[np.float64] = (values - self.mean) / self.scale
        return standardised[:, None]

    def _encode_labels(self, table: Table) -> NDArray[np.int64]:
        # All labels are compared as text: numbers spelled one way, whatever the table holds them as.
        words = [_spelled(label) for label in self.classes]
        known = {word: index for index, word in enumerate(words)}
        given = texts_of(table, self.name, words)
        if not isinstance(self.classes[0], str):
            given = _respelled(given, truth=isinstance(self.classes[0], bool))
        codes = np.array([known.get(word, -1) for word in given], dtype=np.int64)
        if (codes < 0).any():
            row = int(np.argmin(codes))
            label = quoted(given[row]) if table.kinds[self.name] == "text" else given[row]
            known_labels = listed(self.classes)
            complaint = f"holds the label {label}, which training did not have; use one of {known_labels}"
            fail_at(table, row, self.name, f"{complaint}, or remove the row")
        return codes

    def decode_labels(self, indices: ArrayLike) -> NDArray[Any]:
        """The labels of class indices, any shape: an array of int64, float64, bool, or objects for text."""
        dtype = object if isinstance(self.classes[0], str) else None
        labels: NDArray[Any] = np.array(self.classes, dtype=dtype).take(np.asarray(indices))
        return labels

    def decode_values(self, standardised: ArrayLike) -> NDArray[np.float64]:
        """The values (N,) of standardised outputs, (N,) or (N, 1), in the target's own units."""
        return np.asarray(standardised, dtype=np.float64).reshape(-1) * self.scale + self.mean

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` gives back an equal Target."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Target:
        """The Target that `to_dict` described. Raises DataError where the description is damaged."""
        try:
            task, classes = data["task"], tuple(data["classes"])
            if task not in ("classification", "regression") or (task == "classification") != bool(classes):
                raise ValueError(f"task {task!r} with {len(classes)} classes")
            return cls(data["name"], task, classes, float(data["mean"]), float(data["scale"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the description of the target is damaged ({type(error).__name__}: {error}); "
                "train the model again"
            ) from None


def choose_task(name: str, kind: str, *, different: str, few: bool, rows: int, whole: bool) -> TaskChoice:
    """By the kind of the column `name` and, of whole numbers, how many different ones there are in so many rows.

    few: whether they are few enough to be classes. whole: whether decimals are whole numbers.
    """
    column = f"column {quoted(name)}"
    if kind == "text":
        return TaskChoice("classification", f"{column} holds text, so the task is classification")
    if kind == "boolean":
        return TaskChoice("classification", f"{column} holds true and false, so the task is classification")
    if kind == "integer":
        holds = f"{column} holds {different} different whole numbers in {rows} rows"
        if few:
            return TaskChoice("classification", f"{holds}, so the task is classification")
        return TaskChoice("regression", f"{holds}, too many to be classes, so the task is regression")
    holds = "whole numbers stored as decimals" if whole else "dates" if kind == "date" else "decimal numbers"
    return TaskChoice("regression", f"{column} holds {holds}, so the task is regression")


def is_few(count: int, rows: int) -> bool:
    """Whether whole numbers are few enough, and frequent enough, to be classes."""
    return count <= MOST_INTEGER_CLASSES and 2 * count <= rows


def check_rarity(shown: str, name: str, count: int, rows: int, example: object) -> None:
    """Raise DataError where so many different texts in so many rows are hardly labels."""
    if count > MOST_RARE_LABELS and 2 * count > rows:
        raise DataError(
            f"{shown}, column {quoted(name)} holds {count} different texts in {rows} rows, such as "
            f"{quoted(example)}, too many to be classes; give another target, or say --task classification"
        )


def require_counts(table: Table, name: str) -> None:
    """Raise DataError at the first negative value of the column: a count is zero or more."""
    values = table.column(name)
    if table.kinds[name] == "text":
        values = numbers_of(table, name, kind="numeric", wanted="a count must be a number")
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        value = spell_number(float(values[row]))
        fail_at(
            table, row, name, f"holds {value}, but a count is 0 or more; correct it or choose another loss"
        )


def _check_labels(table: Table, name: str) -> None:
    """Raise DataError where text is hardly meant as labels."""
    values = table.columns[name]
    row = misread_row(table, name)
    if row is not None:
        complaint = complaint_of_misread(values[row])
        fail_at(table, row, name, f"{complaint}, or say --task classification if they are labels")
    check_rarity(table.shown_origin, name, len(set(values.tolist())), table.rows, values[0])


def check_present(table: Table, name: str) -> None:
    """Raise DataError at the first row without a value in the target's column."""
    missing = missing_mask(table.columns[name])
    if missing.any():
        row = int(np.argmax(missing))
        more = int(missing.sum()) - 1
        others = f" ({more} more rows like it)" if more else ""
        fail_at(table, row, name, f"has no value{others}, but it is the target; fill it in or remove the row")


def _classes(table: Table, name: str) -> tuple[Label, ...]:
    values, kind = table.columns[name], table.kinds[name]
    classes: tuple[Label, ...]
    if kind == "text":
        classes = tuple(sorted(set(values.tolist())))
    elif kind == "date":
        raise DataError(
            f"{table.shown_origin}, column {quoted(name)} holds dates, which cannot be classes; "
            "give them as text, or use --task regression"
        )
    else:
        check_range(table, name, values)
        convert = {"boolean": bool, "integer": int}.get(kind, float)
        classes = tuple(convert(value) for value in np.unique(values))
    if len(classes) < 2:
        raise DataError(
            f"{table.shown_origin}, column {quoted(name)} holds the one class {quoted(classes[0])}, but "
            "at least 2 are needed; give rows of another class or another target"
        )
    if len(classes) > MOST_CLASSES:
        refuse_many_classes(table.shown_origin, name, len(classes))
    return classes


def refuse_many_classes(shown: str, name: str, count: object) -> NoReturn:
    """Raise DataError for a column with so many different labels."""
    raise DataError(
        f"{shown}, column {quoted(name)} holds {count} different labels, but at most {MOST_CLASSES} classes can be "
        "told apart; give another target or --task regression"
    )


def _spelled(label: Label) -> str:
    if isinstance(label, str):
        return label
    return str(label).lower() if isinstance(label, bool) else spell_number(float(label))


def _respelled(words: NDArray[Any], *, truth: bool) -> NDArray[Any]:
    """Labels that are numbers (or, with `truth`, booleans) in the one spelling `_spelled` uses."""
    spellings = {word: _respell(word, truth) for word in set(words.tolist())}
    return np.array([spellings[word] for word in words], dtype=object)


def _respell(word: str, truth: bool) -> str:
    lower = word.strip().lower()
    if truth:
        return {"1": "true", "0": "false"}.get(lower, lower)
    try:
        return word if "_" in word else spell_number(float(word))
    except ValueError:
        return word
