"""Histories of a run that never took place."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_mlp.learning.history import Epoch, History


def history_of(
    losses: Sequence[float],
    validation: Sequence[float] | None = None,
    metric: Sequence[float] | None = None,
    *,
    best_epoch: int | None = None,
) -> History:
    """Epochs 1, 2, ... of ten steps each with these numbers."""
    epochs = [
        Epoch(
            epoch=number + 1,
            step=10 * (number + 1),
            learning_rate=0.1 / (number + 1),
            loss=loss,
            validation_loss=None if validation is None else validation[number],
            validation_metric=None if metric is None else metric[number],
            seconds=0.25,
            rows_per_second=1.0 / 3.0,
        )
        for number, loss in enumerate(losses)
    ]
    return History(epochs, len(epochs) if best_epoch is None else best_epoch, "all epochs done")
