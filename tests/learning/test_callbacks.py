"""Early stopping and the history by themselves; `train` is tested with both in test_training.py."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.learning.callbacks import Callback, EarlyStopping
from gpu_mlp.learning.history import Epoch, History


def epoch(number: int, loss: float, validation_loss: float | None = None) -> Epoch:
    """An epoch that came to this loss."""
    return Epoch(number, 10 * number, 0.1, loss, validation_loss, None, 1.0, 64.0)


def run(
    ops: Ops, losses: list[float], *, patience: int, min_delta: float = 0.0
) -> tuple[int, EarlyStopping, float]:
    """How many epochs were done, the object, and the weight that is left; epoch n has the weight n."""
    weights = ops.xp.zeros(3)
    stopping = EarlyStopping(patience, min_delta, weights)
    done = 0
    for number, loss in enumerate(losses, start=1):
        weights[...] = number
        done = number
        if stopping.should_stop(epoch(number, loss)):
            break
    stopping.restore()
    assert len(set(ops.to_host(weights).tolist())) == 1
    return done, stopping, float(weights[0])


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "done", "best"),
    [
        ([3, 2, 1], 1, 0.0, 3, 3),
        ([3, 2, 2, 2], 1, 0.0, 3, 2),
        ([3, 2, 2.5, 1, 4, 5, 6], 2, 0.0, 6, 4),
        ([1, 2, 3, 4], 3, 0.0, 4, 1),
        ([5, 4.95, 4.9, 4.85], 3, 0.2, 4, 1),
        ([5, 4.95, 4.7, 4.85], 3, 0.2, 4, 3),
        ([np.nan, np.nan, 3.0, 4.0, 5.0], 2, 0.0, 5, 3),
        ([np.inf, 3.0, 2.0], 1, 0.0, 3, 3),
        ([-1, -2, -1.5, -3], 2, 0.0, 4, 4),  # poisson's loss may be negative
    ],
)
def test_it_stops_after_patience_epochs_and_restores_the_best(
    ops: Ops, losses: list[float], patience: int, min_delta: float, done: int, best: int
) -> None:
    stopped, stopping, weight = run(ops, losses, patience=patience, min_delta=min_delta)
    assert stopped == done
    assert stopping.best_epoch == best
    assert weight == best


def test_the_validation_loss_is_monitored_where_there_is_one() -> None:
    assert epoch(1, 2.0).monitored == 2.0
    assert epoch(1, 2.0, 3.0).monitored == 3.0


def test_a_history_is_a_sequence_of_epochs_and_a_table() -> None:
    history = History([epoch(1, 2.0), epoch(2, 1.0, 0.5)])
    assert len(history) == 2
    assert history[-1].epoch == 2
    assert [e.loss for e in history] == history.losses == [2.0, 1.0]
    names, rows = history.rows()
    assert names == [
        "epoch",
        "step",
        "learning_rate",
        "loss",
        "validation_loss",
        "validation_metric",
        "seconds",
        "rows_per_second",
    ]
    assert rows == [[1, 10, 0.1, 2.0, None, None, 1.0, 64.0], [2, 20, 0.1, 1.0, 0.5, None, 1.0, 64.0]]


def test_a_callback_that_overrides_nothing_does_nothing() -> None:
    callback = Callback()
    run_view = object()
    callback.on_train_begin(run_view)  # type: ignore[arg-type]
    callback.on_progress(run_view, 1)  # type: ignore[arg-type]
    callback.on_epoch_end(run_view, epoch(1, 1.0))  # type: ignore[arg-type]
    callback.on_train_end(run_view)  # type: ignore[arg-type]
