"""`train` in half precision: inputs that it cannot hold, and steps that are skipped without end."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import DataError, DivergenceError
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.tables import bits


@pytest.mark.parametrize("stream", ["never", "always"])
def test_inputs_beyond_half_precision_are_refused(ops: Ops, stream: str) -> None:
    net = Network((3, 4, 2), seed=0, device=ops.device)
    x, y = np.ones((6, 3)), np.zeros((6, 2))
    x[4, 1], x[5, 0] = 65519.0, -1e5
    config = TrainingConfig(epochs=1, batch_size=3, precision="fp16", stream=stream)
    message = (
        "the training table has -100000.0 in row 5, column 0, beyond half precision's 65504; "
        "scale the inputs, or use bf16"
    )
    with pytest.raises(DataError, match=message):
        train(net, x, y, config)
    with pytest.raises(DataError, match=message.replace("training", "validation")):
        train(net, x[:5], y[:5], config, validation=(x, y))
    train(net, x[:5], y[:5], config)
    train(net, x, y, TrainingConfig(epochs=1, batch_size=3, precision="bf16", stream=stream))


def hidden_overflow(ops: Ops, bad: Array) -> tuple[Network, Array, Array]:
    """relu lets an infinite f_0 through and tanh makes 1 of it: the loss is finite, and dL/dOmega_1 = 0 * inf."""
    net = Network((1, 1, 1, 1), activation=("relu", "tanh"), device=ops.device)
    net.set_parameters([[[10.0]], [[1.0]], [[0.5]]], [[0.0]] * 3)
    return net, np.where(bad, 6e4, 0.01)[:, None].astype(np.float32), np.zeros((len(bad), 1), np.float32)


@pytest.mark.parametrize(("batch_size", "epoch"), [(1, 1), (4, 3)])
def test_an_epoch_without_one_finite_gradient_ends_training(ops: Ops, batch_size: int, epoch: int) -> None:
    """30 times the scale is halved before it is clear that no scale will do."""
    net, x, y = hidden_overflow(ops, np.ones(40, bool))
    before = bits(net)
    config = TrainingConfig(epochs=5, batch_size=batch_size, precision="fp16")
    with pytest.raises(
        DivergenceError, match=rf"not finite in any step of epoch {epoch}.*use bf16"
    ) as caught:
        train(net, x, y, config)
    assert caught.value.step == epoch * 40 // batch_size
    assert bits(net) == before


def test_steps_that_are_skipped_again_and_again_are_told_of(
    ops: Ops, caplog: pytest.LogCaptureFixture
) -> None:
    net, x, y = hidden_overflow(ops, np.arange(10) < 3)
    with caplog.at_level(logging.WARNING, "gpu_mlp"):
        train(net, x, y, TrainingConfig(epochs=3, batch_size=1, precision="fp16", optimizer="sgd"))
    assert [record.message.split(";")[0] for record in caplog.records] == [
        f"3 of 10 steps of epoch {epoch} were skipped, since a gradient overflowed half precision"
        for epoch in (2, 3)
    ]


def test_the_search_for_a_first_scale_is_no_news(ops: Ops, caplog: pytest.LogCaptureFixture) -> None:
    """One step an epoch, of which the first few overflow."""
    net = Network((4, 8, 2), activation="relu", seed=1, device=ops.device)
    before = bits(net)
    with caplog.at_level(logging.WARNING, "gpu_mlp"):
        x, y = np.ones((4, 4), np.float32), np.full((4, 2), 1000.0, np.float32)
        train(net, x, y, TrainingConfig(epochs=1, precision="fp16"))
        assert bits(net) == before
        train(net, x, y, TrainingConfig(epochs=12, precision="fp16"))
    assert bits(net) != before
    assert caplog.records == []
