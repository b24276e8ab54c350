"""Whole networks on every backend beside NumPy: whole numbers bit for bit, real data to rounding."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import OPTIMIZER_NAMES, TrainingConfig
from gpu_mlp.learning.optimizers import SGD, optimizer_from
from gpu_mlp.learning.randomness import epoch_order
from gpu_mlp.learning.steps.training_step import TrainingStep
from gpu_mlp.network.network import Network

STEPS = 50
BATCH = 64


def whole_numbers(device: str, sizes: tuple[int, ...], batch: int) -> list[Array]:
    """Loss, gradients and parameters after a step in which nothing is rounded.

    Weights and inputs are small whole numbers, the batch and the learning rate powers of two.
    """
    rng = np.random.default_rng(0)
    net = Network(sizes, activation="relu", device=device)
    for k, (omega, beta) in enumerate(zip(net.weights, net.biases, strict=True)):
        net.weights[k] = rng.integers(-1, 2, omega.shape).astype(np.float32)
        net.biases[k] = rng.integers(-2, 3, beta.shape).astype(np.float32)
    x = rng.integers(-2, 3, (batch, sizes[0])).astype(np.float32)
    y = rng.integers(-2, 3, (batch, sizes[-1])).astype(np.float32)
    step = TrainingStep(net, loss="squared_error", optimizer=SGD(2.0**-6), batch_size=batch)
    loss = step(x, y)
    return [net.ops.to_host(array) for array in (loss, step.gradients.flat, net.parameters.flat)]


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1, 2), (5, 33, 1), (7, 31, 33, 3)], ids=str)
@pytest.mark.parametrize("batch", [1, 32, 128])
def test_whole_numbers_agree_bit_for_bit(ops: Ops, sizes: tuple[int, ...], batch: int) -> None:
    expected = whole_numbers("cpu", sizes, batch)
    for actual, wanted in zip(whole_numbers(ops.device, sizes, batch), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    assert np.any(expected[1])


@cache
def digits() -> tuple[Array, Array]:
    """The handwritten digits, pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels.astype(np.int64)


def losses_on_digits(device: str, **settings: Any) -> Array:
    """The losses of 50 steps on the digits."""
    x, labels = digits()
    config = TrainingConfig(batch_size=BATCH, clip_norm=2.0, **settings)
    net = Network((64, 33, 10), activation=("gelu",), seed=1, device=device)
    step = TrainingStep(
        net,
        loss="softmax_cross_entropy",
        optimizer=optimizer_from(config),
        batch_size=BATCH,
        clip_norm=config.clip_norm,
        dropout=config.dropout,
        seed=3,
        precision=config.precision,
    )
    table, order = net.to_inputs(x), epoch_order(3, 1, len(x))
    y = net.ops.to_device(labels)
    losses = net.ops.xp.zeros(STEPS, np.float32)
    for i in range(STEPS):
        index = net.ops.to_device(np.resize(order, STEPS * BATCH)[i * BATCH : (i + 1) * BATCH])
        step.run_rows(table, y, None, index, losses[i, ...])
    return np.array(net.ops.to_host(losses))


LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "rmsprop": 1e-3,
    "adagrad": 0.01,
    "lion": 1e-3,
}


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_digits_follow_numpys_losses(ops: Ops, name: str) -> None:
    """50 steps with dropout and clipping, to 1e-4 of every loss."""
    settings = {"optimizer": name, "learning_rate": LEARNING_RATES.get(name, 3e-3), "dropout": 0.2}
    expected = losses_on_digits("cpu", **settings)
    assert expected[-1] < 0.85 * expected[0]
    np.testing.assert_allclose(losses_on_digits(ops.device, **settings), expected, rtol=1e-4)
