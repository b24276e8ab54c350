"""What every epoch of a training came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["Epoch", "History"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; `validation_...` is None without a validation set, `metric` also without a metric.

    epoch counts from 1, step counts all steps so far; loss is the mean over the epoch's batches while they trained.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float
    validation_loss: float | None
    validation_metric: float | None
    seconds: float
    rows_per_second: float

    @property
    def monitored(self) -> float:
        """The validation loss where there is one, else the training loss."""
        return self.loss if self.validation_loss is None else self.validation_loss


@dataclass
class History:
    """Every epoch of a run, the epoch whose weights the network has at the end, and why the run ended.

    measures: by epoch, what callbacks measured beside, by name.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    stopped: str = ""
    measures: dict[int, dict[str, float | str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    @property
    def losses(self) -> list[float]:
        """The training loss of every epoch."""
        return [epoch.loss for epoch in self.epochs]

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Column names and one row an epoch, for a table; None where something was not measured."""
        measured = list(dict.fromkeys(name for epoch in self.epochs for name in self.measures_of(epoch)))
        return [*(column.name for column in fields(Epoch)), *measured], [
            [*asdict(epoch).values(), *map(self.measures_of(epoch).get, measured)] for epoch in self.epochs
        ]

    def measures_of(self, epoch: Epoch) -> dict[str, float | str]:
        """What callbacks measured in it."""
        return self.measures.get(epoch.epoch, {})
