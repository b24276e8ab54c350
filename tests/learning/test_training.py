"""`train`: repeatable to the bit, with a history of what happened, on whatever arrays it is given."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import OPTIMIZER_NAMES, SCHEDULE_NAMES, TrainingConfig
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.training import train
from gpu_mlp.learning.validation import accuracy
from gpu_mlp.network.losses import evaluate_loss, to_targets
from gpu_mlp.network.network import Network
from tests.learning.tables import (
    ROWS,
    bits,
    config_of,
    network_at_start,
    table_problem,
)


def trained_bits(ops: Ops, **settings: Any) -> bytes:
    """A whole run with dropout and shuffling in float32."""
    problem = table_problem("softmax_cross_entropy")
    net = network_at_start(problem, ops.device, "float32")
    train(net, problem.x, problem.y, config_of(problem, **{"dropout": 0.4, "seed": 5} | settings))
    return bits(net)


@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
def test_the_same_seed_gives_the_same_bits(ops: Ops, optimizer: str) -> None:
    first = trained_bits(ops, optimizer=optimizer)
    assert first == trained_bits(ops, optimizer=optimizer)
    assert first != trained_bits(ops, optimizer=optimizer, seed=6)


@pytest.mark.parametrize("schedule", SCHEDULE_NAMES)
def test_the_same_seed_gives_the_same_bits_under_every_schedule(ops: Ops, schedule: str) -> None:
    settings = {"schedule": schedule, "warmup_epochs": 0.5, "clip_norm": 0.5}
    assert trained_bits(ops, **settings) == trained_bits(ops, **settings)


def test_the_seed_decides_the_order_and_the_masks(ops: Ops) -> None:
    """Each alone makes two seeds differ, and without either they are the same."""
    for settings, same in (
        ({"dropout": 0.4, "shuffle": False}, False),
        ({"dropout": 0.0, "shuffle": True}, False),
        ({"dropout": 0.0, "shuffle": False}, True),
    ):
        runs = {trained_bits(ops, seed=seed, **settings) for seed in (0, 1)}
        assert (len(runs) == 1) is same


def test_without_shuffling_the_rows_come_as_they_lie(ops: Ops) -> None:
    problem = table_problem("squared_error")
    net, by_hand = (network_at_start(problem, ops.device) for _ in range(2))
    train(net, problem.x, problem.y, config_of(problem, shuffle=False, epochs=2))
    step = TrainingStep(by_hand, loss=problem.loss, batch_size=16)
    step.learning_rate = 0.01
    for _ in range(2):
        for at in range(0, ROWS, 16):
            step(problem.x[at : at + 16], problem.y[at : at + 16])
    assert bits(net) == bits(by_hand)


def test_the_history_holds_what_happened(ops: Ops) -> None:
    problem = table_problem("squared_error", weighted=True)
    validation = table_problem("squared_error", rows=19, seed=1)
    net = network_at_start(problem, ops.device)
    config = config_of(problem, epochs=2, schedule="exponential", schedule_factor=0.5)
    history = train(
        net,
        problem.x,
        problem.y,
        config,
        validation=(validation.x, validation.y),
        sample_weight=problem.sample_weight,
    )
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert [epoch.step for epoch in history] == [4, 8]
    assert [epoch.learning_rate for epoch in history] == [0.01, 0.005]
    assert history.stopped == "all epochs done"
    assert history.best_epoch == 2
    assert all(epoch.seconds > 0 for epoch in history)
    assert history[0].rows_per_second == pytest.approx(ROWS / history[0].seconds)
    outputs = net(validation.x)
    y = ops.to_device(validation.y).astype("float64")
    expected, _ = evaluate_loss(ops, problem.loss, outputs, y)
    assert history[1].validation_loss == float(expected)
    assert history[1].validation_metric is None
    assert history[1].monitored == history[1].validation_loss
    names, rows = history.rows()
    assert names[:4] == ["epoch", "step", "learning_rate", "loss"]
    assert [row[3] for row in rows] == history.losses


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_an_epoch_is_the_mean_over_its_rows(ops: Ops, weighted: bool) -> None:
    """With weights that do not move, it is the loss of the whole table, whatever the batches were."""
    problem = table_problem("squared_error", weighted=weighted)
    net = network_at_start(problem, ops.device)
    y = to_targets(ops, problem.loss, problem.y, outputs=4, dtype="float64")
    expected, _ = evaluate_loss(ops, problem.loss, net(problem.x), y, problem.sample_weight)
    config = config_of(problem, optimizer="sgd", learning_rate=1e-300, epochs=1)
    history = train(net, problem.x, problem.y, config, sample_weight=problem.sample_weight)
    assert history[0].loss == pytest.approx(float(expected), rel=1e-12)
    assert history[0].monitored == history[0].loss


def test_accuracy_is_the_metric_of_labels() -> None:
    problem = table_problem("softmax_cross_entropy")
    labels = np.arange(ROWS) % 4
    net = network_at_start(problem, "cpu")
    history = train(net, problem.x, labels, config_of(problem), validation=(problem.x, labels))
    assert history[-1].validation_metric == np.mean(net(problem.x).argmax(axis=1) == labels)


def test_accuracy_of_logits_is_the_share_on_the_right_side_of_zero() -> None:
    outputs = np.array([[1.0, -1.0], [-2.0, 3.0], [0.5, 0.5]])
    targets = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert accuracy(outputs, targets) == pytest.approx(4 / 6)
    assert accuracy(np.array([[3.0, 1.0], [0.0, 1.0]]), np.array([0, 0])) == 0.5


def test_accuracy_of_probabilities_is_that_of_their_likeliest_class() -> None:
    """softmax_cross_entropy takes soft labels too."""
    problem = table_problem("softmax_cross_entropy")
    soft = np.random.default_rng(0).dirichlet(np.ones(4), ROWS)
    net = network_at_start(problem, "cpu")
    history = train(net, problem.x, soft, config_of(problem), validation=(problem.x, soft))
    expected = np.mean(net(problem.x).argmax(axis=1) == soft.argmax(axis=1))
    assert history[-1].validation_metric == pytest.approx(expected)


def test_a_metric_of_ones_own_is_used() -> None:
    problem = table_problem("squared_error")

    def worst(outputs: Array, targets: Array) -> float:
        return float(np.abs(outputs - targets).max())

    net = network_at_start(problem, "cpu")
    history = train(
        net, problem.x, problem.y, config_of(problem), validation=(problem.x, problem.y), metric=worst
    )
    assert history[-1].validation_metric == worst(net(problem.x), problem.y)


def test_the_loss_is_chosen_by_the_targets() -> None:
    """Whole numbers, one a row, are labels; everything else is squared_error."""
    x = np.random.default_rng(0).normal(size=(12, 3))
    labels = np.arange(12) % 2
    for y, loss in (
        (labels, "softmax_cross_entropy"),
        (labels.astype(np.uint8), "softmax_cross_entropy"),
        (labels == 1, "softmax_cross_entropy"),
        (list(labels), "softmax_cross_entropy"),
        (np.eye(2)[labels], "squared_error"),
    ):
        ends = []
        for name in ("auto", loss):
            net = Network((3, 2), device="cpu")
            train(net, x, y, TrainingConfig(epochs=1, loss=name))
            ends.append(bits(net))
        assert ends[0] == ends[1]


def test_a_table_smaller_than_a_batch_is_one_batch() -> None:
    net = Network((3, 2), device="cpu")
    history = train(net, np.ones((1, 3)), np.ones((1, 2)), TrainingConfig(epochs=2))
    assert [epoch.step for epoch in history] == [1, 2]


def test_a_column_of_targets_may_be_flat_where_there_is_one_output() -> None:
    x, y = np.ones((5, 3)), np.arange(5.0)
    ends = []
    for targets in (y, y[:, None]):
        net = Network((3, 1), device="cpu")
        train(net, x, targets, TrainingConfig(epochs=2))
        ends.append(bits(net))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("of", [torch.tensor, list, np.asfortranarray, lambda a: a[::1]])
def test_any_array_like_trains_the_same(of: Callable[[Array], Any]) -> None:
    problem = table_problem("squared_error")
    ends = []
    for x, y in ((problem.x, problem.y), (of(problem.x), of(problem.y))):
        net = network_at_start(problem, "cpu")
        train(net, x, y, config_of(problem))
        ends.append(bits(net))
    assert ends[0] == ends[1]


def test_the_table_is_left_as_it_was() -> None:
    problem = table_problem("squared_error", weighted=True)
    kept = replace(problem, x=problem.x.copy(), y=problem.y.copy())
    assert problem.sample_weight is not None
    weight = problem.sample_weight.copy()
    train(network_at_start(problem, "cpu"), problem.x, problem.y, config_of(problem), sample_weight=weight)
    np.testing.assert_array_equal(problem.x, kept.x)
    np.testing.assert_array_equal(problem.y, kept.y)
    np.testing.assert_array_equal(problem.sample_weight, weight)


def test_training_logs_nothing_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A library speaks through its history and callbacks."""
    problem = table_problem("squared_error")
    with caplog.at_level(logging.DEBUG):
        train(network_at_start(problem, "cpu"), problem.x, problem.y, config_of(problem))
    assert not caplog.records
