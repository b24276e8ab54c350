"""`train` beside PyTorch on the same batches: every loss, optimizer and schedule, and dropout with the same masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.backends.reference import allocate_philox, draw_bits
from gpu_mlp.config import TrainingConfig
from gpu_mlp.learning.randomness import epoch_order
from gpu_mlp.learning.training import train
from tests.learning.tables import (
    ROWS,
    SIZES,
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
