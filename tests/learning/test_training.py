"""`train`: beside PyTorch on the same batches, repeatable to the bit, with a history of what happened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.backends.reference import allocate_philox, draw_bits
from gpu_mlp.config import OPTIMIZER_NAMES, SCHEDULE_NAMES, TrainingConfig
from gpu_mlp.learning.randomness import epoch_order
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.training import train
from gpu_mlp.learning.validation import accuracy
from gpu_mlp.network.losses import evaluate_loss, to_targets
from gpu_mlp.network.network import Network
from tests.learning.tables import (
    ROWS,
    SIZES,
    bits,
    config_of,
    network_at_start,
    parameters_of,
    table_problem,
    torch_train,
)
from tests.network.torch_networks import mean_loss, torch_module


def dropout_masks(config: TrainingConfig, step: int, rows: int, widths: Sequence[int]) -> list[Array]:
    """Every hidden layer's kept units, scaled: unit i of layer k has number i of stream (step, k)."""
    masks = []
    for layer, width in enumerate(widths):
        bits = draw_bits(np, allocate_philox(np, rows * width), (config.seed, 0), (step, layer))
        kept = bits.reshape(-1)[: rows * width].reshape(rows, width) >= config.dropout * 2**32
        masks.append(kept / (1 - config.dropout))
    return masks


def test_dropout_trains_as_in_pytorch_with_the_same_masks(ops: Ops) -> None:
    """A new mask in every step and layer, also in the smaller batches, and none in the outputs afterwards."""
    problem = table_problem("squared_error")
    config = config_of(problem, epochs=3, dropout=0.3, seed=9, optimizer="momentum")
    net = network_at_start(problem, ops.device)
    history = train(net, problem.x, problem.y, config, validation=(problem.x, problem.y))
    module = torch_module(problem)
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)
    x, y = torch.tensor(problem.x), torch.tensor(problem.y)
    step = 0
    for epoch in range(1, config.epochs + 1):
        for index in torch.tensor(epoch_order(config.seed, epoch, ROWS)).split(config.batch_size):
            masks = iter(dropout_masks(config, step, len(index), SIZES[1:-1]))
            h = x[index]
            for layer in module:
                h = layer(h)
                if not isinstance(layer, torch.nn.Linear):
                    h = h * torch.tensor(next(masks))
            optimizer.zero_grad()
            mean_loss(problem.loss, h, y[index], None).backward()
            optimizer.step()
            step += 1
    for mine, theirs in zip(parameters_of(net), module.parameters(), strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-10, atol=1e-11)
    undropped = mean_loss(problem.loss, module(x), y, None).item()
    assert history[-1].validation_loss == pytest.approx(undropped, rel=1e-10)


T = torch.optim


AGAINST_TORCH: dict[str, tuple[dict[str, Any], Callable[[Any], torch.optim.Optimizer]]] = {
    "adam": ({}, lambda p: T.Adam(p, 0.01)),
    "adamw": ({"optimizer": "adamw"}, lambda p: T.AdamW(p, 0.01)),
    "sgd": ({"optimizer": "sgd"}, lambda p: T.SGD(p, 0.01)),
    "nesterov": (
        {"optimizer": "nesterov", "momentum": 0.8, "weight_decay": 0.02},
        lambda p: T.SGD(p, 0.01, momentum=0.8, nesterov=True, weight_decay=0.02),
    ),
    "rmsprop": ({"optimizer": "rmsprop", "momentum": 0.5}, lambda p: T.RMSprop(p, 0.01, momentum=0.5)),
    "adagrad": ({"optimizer": "adagrad"}, lambda p: T.Adagrad(p, 0.01)),
    "clipped": ({"optimizer": "sgd", "clip_norm": 0.3}, lambda p: T.SGD(p, 0.01)),
}


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss_trains_as_in_pytorch(ops: Ops, loss: str, weighted: bool) -> None:
    """Three epochs in random order, the last batch of each smaller."""
    problem = table_problem(loss, weighted=weighted)
    net = network_at_start(problem, ops.device)
    config = config_of(problem, epochs=4, optimizer="momentum")
    train(net, problem.x, problem.y, config, sample_weight=problem.sample_weight)
    expected = torch_train(problem, config, lambda p: T.SGD(p, 0.01, momentum=0.9))
    for mine, theirs, start in zip(
        parameters_of(net), expected, parameters_of(network_at_start(problem, ops.device)), strict=True
    ):
        assert np.abs(theirs - start).max() > 1e-3
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", AGAINST_TORCH)
def test_every_optimizer_trains_as_in_pytorch(ops: Ops, name: str) -> None:
    settings, optimizer_of = AGAINST_TORCH[name]
    problem = table_problem("softmax_cross_entropy")
    net = network_at_start(problem, ops.device)
    config = config_of(problem, **settings)
    train(net, problem.x, problem.y, config)
    for mine, theirs in zip(parameters_of(net), torch_train(problem, config, optimizer_of), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    ("settings", "scheduler_of"),
    [
        ({"schedule": "cosine"}, lambda o: T.lr_scheduler.CosineAnnealingLR(o, T_max=12)),
        (
            {"schedule": "one_cycle"},
            lambda o: T.lr_scheduler.OneCycleLR(o, 0.01, total_steps=12, cycle_momentum=False),
        ),
        (
            {"schedule": "exponential", "schedule_factor": 0.7},
            lambda o: T.lr_scheduler.LambdaLR(o, lambda step: 0.7 ** (step // 4)),
        ),
    ],
    ids=["cosine", "one_cycle", "exponential"],
)
def test_a_schedule_sets_the_rate_of_every_step(
    settings: dict[str, Any], scheduler_of: Callable[[Any], Any]
) -> None:
    problem = table_problem("squared_error")
    net = network_at_start(problem, "cpu")
    config = config_of(problem, optimizer="sgd", **settings)
    train(net, problem.x, problem.y, config)
    expected = torch_train(problem, config, lambda p: T.SGD(p, 0.01), scheduler_of)
    for mine, theirs in zip(parameters_of(net), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-11)


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
