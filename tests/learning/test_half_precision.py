"""`train` in half precision: inputs that it cannot hold, and steps that are skipped without end."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import LossScale
from gpu_mlp.config import Loss, TrainingConfig
from gpu_mlp.errors import DataError, DivergenceError
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch
from gpu_mlp.learning.loss_scaling import FIRST_SCALE
from gpu_mlp.learning.tables import given_table
from gpu_mlp.learning.training import train
from gpu_mlp.learning.validation import validate
from gpu_mlp.network.network import Network
from tests.learning.tables import Recorder, bits


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


def test_a_divergence_leaves_the_scale_as_it_was_before_its_epoch(ops: Ops) -> None:
    """Three good steps, one that overflows, two good ones, one that is far too long, and an infinite loss."""
    net = Network((1, 1), device=ops.device)
    net.set_parameters([[[1.0]]], [[0.0]])
    y = np.array([1, 1, 1, -100, 1, 1, 0.5, 1], np.float32)[:, None]
    recorder = Recorder(net)
    runs = []
    recorder.on_train_begin = runs.append  # type: ignore[method-assign]
    config = TrainingConfig(
        epochs=1, batch_size=1, precision="fp16", optimizer="sgd", learning_rate=1e30, shuffle=False
    )
    with pytest.raises(DivergenceError) as caught:
        train(net, np.ones_like(y), y, config, callbacks=[recorder])
    assert (caught.value.step, caught.value.layer) == (8, 0)
    scaling = runs[0].step.loss_scale
    assert (float(scaling.scale), int(scaling.steps)) == (FIRST_SCALE, 0)


def test_a_divergence_leaves_the_count_of_good_steps_as_it_was_before_its_epoch(ops: Ops) -> None:
    net = Network((1, 1), device=ops.device)
    net.set_parameters([[[1.0]]], [[0.0]])

    class Spoiler(Callback):
        """Between two epochs."""

        def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
            scaling = run.step.loss_scale  # type: ignore[attr-defined]
            scales.append(scaling)
            counts.append(int(scaling.steps))
            net.biases[0][...] = 1e30

    scales: list[LossScale] = []
    counts: list[int] = []
    config = TrainingConfig(epochs=2, batch_size=1, precision="fp16", optimizer="sgd")
    with pytest.raises(DivergenceError, match="epoch 2"):
        train(net, np.ones((8, 1)), np.ones((8, 1)), config, callbacks=[Spoiler()])
    assert counts == [8]
    assert int(scales[0].steps) == 8


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_validation_is_in_the_trainings_precision(ops: Ops, precision: str) -> None:
    rng = np.random.default_rng(0)
    net = Network((3, 8, 2), seed=0, device=ops.device)
    x, y = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    history = train(net, x, y, TrainingConfig(epochs=1, precision=precision), validation=(x, y))
    loss = Loss("squared_error")
    table = given_table(net, loss, "validation table", x, y)
    exact, rounded = (validate(net, loss, table, None, precision=each)[0] for each in ("auto", precision))
    assert history.epochs[0].validation_loss == rounded != exact
