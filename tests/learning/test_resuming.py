"""A run that goes on from a saved state comes to the bits of the run that was never held."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.config import OPTIMIZER_NAMES, TrainingConfig
from gpu_mlp.errors import DivergenceError, ShapeError
from gpu_mlp.learning.callbacks import Callback, PausableRun, RunView
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.state import TrainingState
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.tables import bits, config_of, network_at_start, table_problem

PROBLEM = table_problem("softmax_cross_entropy")
HELD_OUT = table_problem("softmax_cross_entropy", rows=19, seed=3)
EPOCHS, STEPS = 5, 4  # 53 rows in batches of 16


class HoldAt(Callback):
    """Keeps the state after so many steps of the run, and ends it there."""

    def __init__(self, *steps: int, at_once: bool = True) -> None:
        self.steps, self.at_once = list(steps), at_once
        self.states: list[TrainingState] = []

    def on_train_begin(self, run: RunView) -> None:
        assert isinstance(run, PausableRun)
        self._next(run)

    def on_pause(self, run: PausableRun) -> None:
        if self.steps and run.steps_done == self.steps[0]:  # not again where an epoch's end was the last step
            self.states.append(run.state())
            self._next(run)

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        assert isinstance(run, PausableRun)
        if self.steps and epoch.step == self.steps[0]:
            self.on_pause(run)

    def _next(self, run: PausableRun) -> None:
        done = len(self.states)
        if done:
            self.steps.pop(0)
        if self.steps:
            run.pause(self.steps[0])
        elif self.at_once:
            run.stop("held", at_once=True)


def told(history: History) -> list[dict[str, Any]]:
    """Everything but the times."""
    rows = [asdict(epoch) for epoch in history]
    return [{key: row[key] for key in row if key not in ("seconds", "rows_per_second")} for row in rows]


def run(
    ops: Ops,
    config: TrainingConfig,
    callback: Callback,
    resume: TrainingState | None = None,
    dtype: str = "float32",
) -> tuple[Network, History]:
    network = network_at_start(PROBLEM, ops.device, dtype)
    y = HELD_OUT.x, HELD_OUT.y
    return network, train(
        network, PROBLEM.x, PROBLEM.y, config, validation=y, callbacks=[callback], resume=resume
    )


def check(ops: Ops, *steps: int, dtype: str = "float32", **settings: Any) -> None:
    """Held after each of the steps in turn, by a process that knows nothing but the state."""
    config = config_of(PROBLEM, **{"epochs": EPOCHS, "dropout": 0.2} | settings)
    whole, expected = run(ops, config, Callback(), dtype=dtype)
    state: TrainingState | None = None
    for step in steps:
        hold = HoldAt(step)
        _, history = run(ops, config, hold, state, dtype)
        (state,) = hold.states
        assert (state.steps, state.position) == (step, step % STEPS)
        assert history.stopped == "held"
        assert len(history) == step // STEPS
    resumed, actual = run(ops, config, Callback(), state, dtype)
    assert told(actual) == told(expected)
    assert (actual.best_epoch, actual.stopped) == (expected.best_epoch, expected.stopped)
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("step", range(1, EPOCHS * STEPS))
def test_after_any_step(ops: Ops, step: int) -> None:
    check(ops, step)


@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
def test_with_every_optimizer_and_again_and_again(ops: Ops, optimizer: str) -> None:
    check(ops, 3, 4, 5, 13, optimizer=optimizer, schedule="one_cycle", warmup_epochs=0.5)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_in_every_precision(ops: Ops, precision: str) -> None:
    check(ops, 6, 8, precision=precision)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "plateau", "schedule_epochs": 1, "learning_rate": 0.5, "epochs": 12},
        {
            "schedule": "plateau",
            "schedule_epochs": 1,
            "learning_rate": 0.5,
            "warmup_epochs": 1.5,
            "epochs": 12,
        },
        {"patience": 5, "learning_rate": 0.1, "epochs": 30},
        {"stream": "always"},
        {"shuffle": False, "clip_norm": 0.1},
    ],
    ids=["plateau", "plateau after a warm-up", "early stopping", "streamed", "clipped in order"],
)
def test_with_all_that_a_run_remembers(ops: Ops, settings: dict[str, Any]) -> None:
    check(ops, 9, 14, 16, dtype="float64", **settings)


def test_a_run_that_was_only_looked_at_is_not_changed(ops: Ops) -> None:
    config = config_of(PROBLEM, epochs=EPOCHS, dropout=0.2)
    whole, expected = run(ops, config, Callback())
    looked = HoldAt(2, 3, 8, 17, at_once=False)
    network, history = run(ops, config, looked)
    assert [state.steps for state in looked.states] == [2, 3, 8, 17]
    assert (bits(network), told(history)) == (bits(whole), told(expected))


def test_a_run_that_patience_had_ended_does_not_go_on(ops: Ops) -> None:
    config = config_of(PROBLEM, epochs=40, patience=2, learning_rate=0.5)
    _, expected = run(ops, config, Callback())
    assert "no improvement" in expected.stopped
    hold = HoldAt(STEPS * len(expected), at_once=False)
    whole, _ = run(ops, config, hold)
    network, history = run(ops, config, Callback(), hold.states[0])
    assert (len(history), history.stopped) == (len(expected), expected.stopped)
    assert bits(network) == bits(whole)


def test_an_epoch_that_diverges_after_a_pause_is_reported_as_without(ops: Ops) -> None:
    config = config_of(PROBLEM, epochs=EPOCHS, learning_rate=1e30, optimizer="sgd")
    found = []
    hold = HoldAt(1)
    run(ops, config, hold)
    for resume in (None, hold.states[0]):
        network = network_at_start(PROBLEM, ops.device, "float32")
        with pytest.raises(DivergenceError) as caught:
            train(network, PROBLEM.x, PROBLEM.y, config, resume=resume)
        found.append((str(caught.value), caught.value.step, bits(network)))
    assert found[0] == found[1]


def test_stopped_at_once_it_keeps_the_weights_of_its_last_step(ops: Ops) -> None:
    hold = HoldAt(6)
    network, history = run(ops, config_of(PROBLEM, epochs=EPOCHS), hold)
    assert bits(network) == hold.states[0].arrays["parameters"].tobytes()
    assert (len(history), history.best_epoch) == (1, 1)


def test_a_state_of_another_run_is_refused(ops: Ops) -> None:
    config = config_of(PROBLEM, epochs=EPOCHS)
    hold = HoldAt(6)
    run(ops, config, hold)
    (state,) = hold.states
    network = network_at_start(PROBLEM, ops.device, "float32")
    with pytest.raises(
        ShapeError, match=r"53 rows in 4 steps an epoch, but this table has 40 rows in 3 steps"
    ):
        train(network, PROBLEM.x[:40], PROBLEM.y[:40], config, resume=state)
    with pytest.raises(ShapeError, match=r"no array for optimizer\.velocity"):
        train(network, PROBLEM.x, PROBLEM.y, config_of(PROBLEM, optimizer="momentum"), resume=state)
    with pytest.raises(ShapeError, match=r"an array of shape \(\d+,\) for parameters"):
        train(Network((3, 5, 4), device=ops.device), PROBLEM.x, PROBLEM.y, config, resume=state)
    with pytest.raises(ShapeError, match="no array for best"):
        train(network, PROBLEM.x, PROBLEM.y, config_of(PROBLEM, patience=3), resume=state)


def test_a_state_is_a_copy(ops: Ops) -> None:
    hold = HoldAt(6, at_once=False)
    network, _ = run(ops, config_of(PROBLEM, epochs=EPOCHS), hold)
    (state,) = hold.states
    assert bits(network) != state.arrays["parameters"].tobytes()
    assert all(array.dtype in (np.float32, np.float64) for array in state.arrays.values())
    assert len(state.history) == 1
