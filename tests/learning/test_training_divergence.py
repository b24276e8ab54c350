"""`train` where the loss or the parameters stop being finite: step, layer and restored weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Array
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import DivergenceError
from gpu_mlp.learning.optimizers import optimizer_from
from gpu_mlp.learning.randomness import epoch_order
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.tables import (
    Recorder,
    bits,
)


def diverging(weights: Sequence[Any], x: float, *, rows: int = 4) -> tuple[Network, Array, Array]:
    """A linear 1-1-...-1 network in float32 with these weights, and a constant table."""
    net = Network((1,) * (len(weights) + 1), activation="identity", device="cpu")
    net.set_parameters([[[weight]] for weight in weights], [[0.0]] * len(weights))
    return net, np.full((rows, 1), x, np.float32), np.zeros((rows, 1), np.float32)


def first_bad_step(net: Network, x: Array, y: Array, config: TrainingConfig) -> tuple[int, int | None]:
    """The step whose loss is not finite and its first layer that is not, by a loop of steps."""
    step = TrainingStep(
        net,
        loss="squared_error",
        batch_size=config.batch_size,
        optimizer=optimizer_from(config),
        dropout=config.dropout,
        seed=config.seed,
    )
    with np.errstate(all="ignore"):
        for epoch in range(1, config.epochs + 1):
            order = epoch_order(config.seed, epoch, len(x))
            for at in range(0, len(x), config.batch_size):
                index = order[at : at + config.batch_size]
                if not np.isfinite(float(step(x[index], y[index]))):
                    finite = step.room_for(len(index))[1].finite_layers()
                    return step.optimizer.step, finite.index(False) if False in finite else None
    raise AssertionError("it did not diverge")


@pytest.mark.parametrize(
    ("weights", "x", "layer"),
    [
        ([1e20, 1.0, 1.0], 1e20, 0),
        ([1e20, 1e20, 1.0], 1.0, 1),
        ([1e15, 1e15, 1e15], 1.0, 2),
        ([1.0, 1e15, 1e10], 1.0, None),  # 1e25 is finite, its square is not
    ],
)
def test_a_divergence_names_the_step_and_the_first_layer_that_overflowed(
    weights: Sequence[float], x: float, layer: int | None
) -> None:
    net, table, y = diverging(weights, x)
    before = bits(net)
    with pytest.raises(DivergenceError) as caught:
        train(net, table, y, TrainingConfig(epochs=2, batch_size=2))
    assert caught.value.step == 1
    assert caught.value.layer == layer
    assert isinstance(caught.value, ArithmeticError)
    message = str(caught.value)
    assert "step 1 (epoch 1)" in message
    assert ("layer" in message) is (layer is not None)
    assert "lower the learning rate" in message
    assert "\n" not in message
    assert bits(net) == before


@pytest.mark.parametrize("rate", [0.5, 2.0, 30.0])
def test_a_divergence_after_many_steps_restores_the_weights_from_before_its_epoch(rate: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(53, 3)).astype(np.float32), rng.normal(size=(53, 1)).astype(np.float32)
    config = TrainingConfig(epochs=100, batch_size=4, optimizer="momentum", learning_rate=rate, seed=2)
    nets = [Network((3, 7, 1), activation="identity", seed=4, device="cpu") for _ in range(2)]
    expected, layer = first_bad_step(nets[0], x, y, config)
    recorder = Recorder(nets[1])
    before = bits(nets[1])
    with pytest.raises(DivergenceError) as caught:
        train(nets[1], x, y, config, callbacks=[recorder])
    assert (caught.value.step, caught.value.layer) == (expected, layer)
    epoch = (expected - 1) // 14 + 1
    assert f"step {expected} (epoch {epoch})" in str(caught.value)
    assert len(recorder.weights) == epoch - 1
    assert bits(nets[1]) == (recorder.weights[-1] if epoch > 1 else before)
    assert np.isfinite(nets[1].parameters.flat).all()
    assert recorder.log[-1].startswith("end")


@pytest.mark.parametrize("epochs", [1, 5])
def test_an_update_that_overflows_leaves_finite_weights(epochs: int) -> None:
    """One step an epoch: its loss is finite, its update is not, and no loss comes after it in that epoch."""
    net, x, y = diverging([1e10], 1.0)
    before = bits(net)
    config = TrainingConfig(epochs=epochs, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(DivergenceError) as caught:
        train(net, x, y, config)
    assert (caught.value.step, caught.value.layer) == (1, 0)
    assert "the parameters of layer 0" in str(caught.value)
    assert "step 1 (epoch 1)" in str(caught.value)
    assert bits(net) == before


def test_infinite_weights_are_seen_where_an_activation_hides_them() -> None:
    """relu makes 0 of minus infinity: with such a first weight every later loss is finite."""
    net = Network((1, 1, 1), activation="relu", device="cpu")
    net.set_parameters([[[1.0]], [[1e10]]], [[0.0], [0.0]])
    recorder = Recorder(net)
    config = TrainingConfig(
        epochs=3, batch_size=1, optimizer="sgd", learning_rate=1e10, loss="absolute_error"
    )
    with pytest.raises(DivergenceError) as caught:
        train(net, np.full((8, 1), 1e20, np.float32), np.zeros((8, 1)), config, callbacks=[recorder])
    assert caught.value.layer == 0
    assert "the parameters of layer 0" in str(caught.value)
    assert recorder.weights == []
    assert np.isfinite(net.parameters.flat).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_divergence_with_dropout_is_repeated_with_the_same_masks(seed: int) -> None:
    """The layer is found by doing the epoch again: with other masks another layer can be the first."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(64, 3)), rng.normal(size=(64, 1))
    config = TrainingConfig(
        epochs=50, batch_size=4, optimizer="sgd", learning_rate=0.1, dropout=0.5, seed=seed
    )
    nets = [Network((3, 5, 5, 5, 1), activation="identity", seed=seed, device="cpu") for _ in range(2)]
    expected = first_bad_step(nets[0], x, y, config)
    with pytest.raises(DivergenceError) as caught:
        train(nets[1], x, y, config)
    assert (caught.value.step, caught.value.layer) == expected
    assert np.isfinite(nets[1].parameters.flat).all()


def test_no_warning_reaches_the_user_where_training_diverges() -> None:
    net, table, y = diverging([1e20, 1e20], 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError):
            train(net, table, y)
