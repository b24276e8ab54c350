"""`train` and what it listens and speaks to: callbacks, early stopping, the plateau schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.config import TrainingConfig
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.tables import (
    ROWS,
    Recorder,
    bits,
    config_of,
    network_at_start,
    table_problem,
)


def test_callbacks_are_told_in_order() -> None:
    problem = table_problem("squared_error")
    log: list[str] = []
    net = network_at_start(problem, "cpu")
    callbacks = [Recorder(log=log, name="a "), Recorder(log=log, name="b ")]
    train(net, problem.x, problem.y, config_of(problem, epochs=2), callbacks=callbacks)
    assert log == [
        f"a begin 2 {ROWS}",
        f"b begin 2 {ROWS}",
        "a epoch 1 of 1",
        "b epoch 1 of 1",
        "a epoch 2 of 2",
        "b epoch 2 of 2",
        "a end 'all epochs done'",
        "b end 'all epochs done'",
    ]


def test_a_callback_can_stop_the_run() -> None:
    class StopAtTwo(Callback):
        def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
            if epoch.epoch == 2:
                run.stop("that is enough")

    problem = table_problem("squared_error")
    net = network_at_start(problem, "cpu")
    recorder = Recorder(net)
    history = train(
        net, problem.x, problem.y, config_of(problem, epochs=9), callbacks=[StopAtTwo(), recorder]
    )
    assert len(history) == 2
    assert history.stopped == "that is enough"
    assert history.best_epoch == 2
    assert recorder.weights[-1] == bits(net)


def test_progress_is_told_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_mlp.learning.epochs.SECONDS_BETWEEN_REPORTS", 0.0)

    class Progress(Callback):
        def __init__(self) -> None:
            self.rows: list[int] = []

        def on_progress(self, run: RunView, rows_done: int) -> None:
            self.rows.append(rows_done)

    problem, progress = table_problem("squared_error"), Progress()
    net = network_at_start(problem, "cpu")
    train(net, problem.x, problem.y, config_of(problem, epochs=2), callbacks=[progress])
    assert progress.rows == [16, 32, 48, ROWS] * 2


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_the_end_is_told_after_an_exception_too(error: BaseException) -> None:
    class Raises(Callback):
        def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
            raise error

    problem = table_problem("squared_error")
    recorder = Recorder()
    with pytest.raises(type(error)):
        train(
            network_at_start(problem, "cpu"),
            problem.x,
            problem.y,
            config_of(problem),
            callbacks=[recorder, Raises()],
        )
    assert [line.split()[0] for line in recorder.log] == ["begin", "epoch", "end"]


def drifting(seed: int = 0) -> tuple[Network, Any, Any, tuple[Any, Any]]:
    """A problem whose validation targets contradict the training targets after a while."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 3))
    y = np.sin(x.sum(axis=1, keepdims=True))
    noise = rng.normal(0, 1.5, size=(64, 1))
    net = Network((3, 33, 1), activation="tanh", dtype="float64", seed=1, device="cpu")
    return net, x, y + noise, (rng.normal(size=(31, 3)), rng.normal(size=(31, 1)))


@pytest.mark.parametrize("patience", [1, 3, 7])
@pytest.mark.parametrize("min_delta", [0.0, 0.01])
def test_early_stopping_restores_the_best_weights(patience: int, min_delta: float) -> None:
    net, x, y, validation = drifting()
    recorder = Recorder(net)
    config = TrainingConfig(
        epochs=400, batch_size=16, learning_rate=0.02, patience=patience, min_delta=min_delta
    )
    history = train(net, x, y, config, validation=validation, callbacks=[recorder])
    losses = [epoch.monitored for epoch in history]
    # The rule by hand: a new best must be lower than the old one by more than min_delta.
    best = 0
    for i, loss in enumerate(losses):
        if loss < losses[best] - min_delta:
            best = i
    assert len(losses) == best + 1 + patience < 400
    assert history.best_epoch == best + 1
    assert history.stopped == f"no improvement for {patience} epochs"
    assert bits(net) == recorder.weights[best]
    assert bits(net) != recorder.weights[-1]
    outputs = net(validation[0])
    assert float(np.mean((outputs - validation[1]) ** 2)) == pytest.approx(losses[best], rel=1e-12)


def test_early_stopping_restores_the_best_weights_where_the_epochs_run_out() -> None:
    net, x, y, validation = drifting()
    recorder = Recorder(net)
    config = TrainingConfig(epochs=30, batch_size=16, learning_rate=0.05, patience=30)
    history = train(net, x, y, config, validation=validation, callbacks=[recorder])
    losses = [epoch.monitored for epoch in history]
    assert history.stopped == "all epochs done"
    assert history.best_epoch == int(np.argmin(losses)) + 1 < 30
    assert bits(net) == recorder.weights[history.best_epoch - 1]


def test_without_patience_the_last_weights_stay() -> None:
    net, x, y, validation = drifting()
    recorder = Recorder(net)
    config = TrainingConfig(epochs=30, batch_size=16, learning_rate=0.05)
    train(net, x, y, config, validation=validation, callbacks=[recorder])
    assert bits(net) == recorder.weights[-1]


def test_without_a_validation_set_the_training_loss_is_monitored() -> None:
    net, x, y, _ = drifting()
    history = train(net, x, y, TrainingConfig(epochs=50, learning_rate=1e-12, patience=2, min_delta=0.1))
    assert len(history) == 3
    assert history.best_epoch == 1


def test_a_validation_loss_that_is_nan_is_no_best_epoch() -> None:
    """Overflow on a far-off validation row in the first epochs must not keep their weights for ever."""
    net = Network((1, 2), dtype="float32", device="cpu")
    net.set_parameters([[[1.3], [-1.3]]], [[0.0, 0.0]])
    recorder = Recorder(net)
    # f = 3e38 * weight overflows while the weight is above 1.13, and infinity less infinity is NaN.
    validation = (np.array([[3e38]], np.float32), np.array([1]))
    config = TrainingConfig(epochs=60, optimizer="sgd", learning_rate=0.05, patience=60)
    x, labels = np.full((8, 1), 3.0), np.arange(8) % 2
    history = train(net, x, labels, config, validation=validation, callbacks=[recorder])
    losses = np.array([epoch.monitored for epoch in history])
    assert np.isnan(losses[0])
    assert np.isfinite(losses[-1])
    assert history.best_epoch == int(np.nanargmin(losses)) + 1
    assert bits(net) == recorder.weights[history.best_epoch - 1]


def test_plateau_lowers_the_rate_by_the_monitored_loss() -> None:
    net, x, y, validation = drifting()
    config = TrainingConfig(
        epochs=80,
        batch_size=16,
        learning_rate=0.02,
        schedule="plateau",
        schedule_epochs=2,
        schedule_factor=0.5,
    )
    history = train(net, x, y, config, validation=validation)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.02)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, eps=0.0)
    expected = []
    for epoch in history:
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(epoch.monitored)
    assert [epoch.learning_rate for epoch in history] == pytest.approx(expected, rel=1e-12)
    assert min(expected) < 0.02
