"""The captured step on an emulated device: what a replay must not freeze, and what it falls back to."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import ROUNDED_PRECISIONS, Array
from gpu_mlp.config import OPTIMIZER_NAMES, TrainingConfig
from gpu_mlp.errors import DeviceError
from gpu_mlp.learning.optimizers import Adam
from gpu_mlp.learning.steps.cuda_graph import STEPS_A_LAUNCH, GraphStep
from gpu_mlp.learning.steps.training_step import TrainingStep
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.backends.emulated import emulated_ops
from tests.backends.fake_cublaslt import FakeCublasLt


class Counting:
    """The backend's graphs, counting captures, replays and what a capture is refused with."""

    def __init__(self, graphs: Any) -> None:
        self._graphs = graphs
        self.captures = self.replays = 0
        self.refusal: Exception | None = None
        self.capturing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graphs, name)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.refusal is not None:
            raise self.refusal
        self.captures += 1
        self.capturing = True
        captured = self._graphs.capture(work)
        self.capturing = False

        def replay() -> None:
            self.replays += 1
            captured()

        return replay


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """device="cuda" is the emulated backend, whose graphs are counted."""
    try:
        ops = emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))
    counting = Counting(ops.graphs)
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: replace(ops, graphs=counting))
    monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)
    yield counting
    assert not ops.graphs.capture.__self__.calls  # type: ignore[union-attr] nothing is left recording


def table(rows: int, *, seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5)).astype(np.float32)
    return x, rng.integers(0, 3, rows), rng.integers(0, 4, rows).astype(np.float32)


def trained(device: str, config: TrainingConfig, rows: int, *, weighted: bool = False) -> list[Array]:
    """Losses and parameters of a whole training."""
    net = Network((5, 9, 3), activation="tanh", seed=2, device=device)
    x, y, weights = table(rows)
    history = train(net, x, y, config, sample_weight=weights if weighted else None)
    return [np.array(history.losses), net.ops.to_host(net.parameters.flat)]


def check_like_cpu(config: TrainingConfig, rows: int, **settings: Any) -> None:
    on_cuda, on_cpu = (trained(device, config, rows, **settings) for device in ("cuda", "cpu"))
    for actual, expected in zip(on_cuda, on_cpu, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
def test_replayed_epochs_train_like_the_cpu(graphs: Counting, optimizer: str) -> None:
    """Dropout masks, learning rates, bias corrections and batches all change from step to step."""
    config = TrainingConfig(
        epochs=4,
        batch_size=4,
        optimizer=optimizer,
        learning_rate=1e-2 if optimizer != "lion" else 1e-3,
        schedule="cosine",
        dropout=0.3,
        clip_norm=0.5,
    )
    check_like_cpu(config, 75)
    # 18 steps of 4 rows and one of 3 to an epoch: 16, 1, 1 and 1 to a launch, each first as plain launches.
    assert graphs.captures == 3
    assert graphs.replays == 4 * 4 - 3


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_replayed_epochs_in_a_precision_train_like_the_cpu(graphs: Counting, precision: str) -> None:
    """Copies of the parameters, the scale of the loss and skipped steps are read anew by every replay."""
    config = TrainingConfig(
        epochs=4, batch_size=4, learning_rate=1e-2, dropout=0.3, clip_norm=0.5, precision=precision
    )
    on_cuda, on_cpu = (trained(device, config, 75) for device in ("cuda", "cpu"))
    for actual, expected in zip(on_cuda, on_cpu, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-2, atol=5e-3)
    assert graphs.captures == 3


@pytest.mark.parametrize("rows", [3, 4, 5, 64, 65, 4 * STEPS_A_LAUNCH * 2 + 7])
def test_every_number_of_rows_gets_all_its_steps(graphs: Counting, rows: int) -> None:
    check_like_cpu(TrainingConfig(epochs=3, batch_size=4, optimizer="sgd", learning_rate=0.1), rows)


def test_weights_are_gathered_with_their_rows(graphs: Counting) -> None:
    config = TrainingConfig(epochs=3, batch_size=8, optimizer="sgd", learning_rate=0.1)
    check_like_cpu(config, 77, weighted=True)


def loop(device: str, steps: int) -> list[Array]:
    """A loop of one's own, with a learning rate that changes and batches that lie elsewhere each time."""
    net = Network((5, 9, 3), activation="relu", seed=2, device=device)
    step = TrainingStep(
        net, loss="softmax_cross_entropy", optimizer=Adam(1e-2), batch_size=8, dropout=0.2, seed=4
    )
    losses = []
    for number in range(steps):
        x, y, weights = table(8, seed=number)
        step.learning_rate = 1e-2 / (1 + number)
        losses.append(float(step(x, y, weights if number % 2 else None)))
    return [np.array(losses), net.ops.to_host(net.parameters.flat)]


def test_a_loop_of_ones_own_is_replayed_as_well(graphs: Counting) -> None:
    for actual, expected in zip(loop("cuda", 9), loop("cpu", 9), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)
    assert (graphs.captures, graphs.replays) == (1, 8)


def test_targets_of_another_kind_get_a_graph_of_their_own(graphs: Counting) -> None:
    net = Network((5, 3), device="cuda")
    step = TrainingStep(net, loss="softmax_cross_entropy", batch_size=8)
    x, y, _ = table(8)
    for _ in range(3):
        step(x, y)
        step(x, np.eye(3, dtype=np.float32)[y])
    assert graphs.captures == 2
    assert step.optimizer.step == 6


def alternating(device: str) -> list[float]:
    """Losses of labels and of probabilities in turn, other ones each time."""
    net = Network((5, 3), seed=1, device=device)
    step = TrainingStep(net, loss="softmax_cross_entropy", optimizer=Adam(1e-2), batch_size=8)
    losses = []
    for number in range(5):
        x, y, _ = table(8, seed=number)
        losses += [float(step(x, y)), float(step(x, np.eye(3, dtype=np.float32)[2 - y]))]
    return losses


def test_targets_of_two_kinds_in_turn_are_each_read_where_they_were_written(graphs: Counting) -> None:
    np.testing.assert_allclose(alternating("cuda"), alternating("cpu"), rtol=2e-5)


def test_a_longer_epoch_and_another_table_are_captured_anew(graphs: Counting) -> None:
    net = Network((5, 3), device="cuda", seed=1)
    cpu = Network((5, 3), device="cpu", seed=1)
    steps = [TrainingStep(each, loss="softmax_cross_entropy", batch_size=8) for each in (net, cpu)]
    for rows, seed in ((16, 0), (32, 1), (32, 2), (16, 3)):
        x, y, _ = table(rows, seed=seed)
        losses = []
        for step in steps:
            found = np.zeros(rows // 8, np.float32)
            arrays = (step.network.to_inputs(x), y, None)
            for _ in range(3):
                step.run_steps(arrays, np.arange(rows), [1e-2] * (rows // 8), found, lambda done: None)
            losses.append(found)
        np.testing.assert_allclose(*losses, rtol=2e-5)


def test_a_capture_that_is_refused_is_said_and_changes_no_result(
    graphs: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    graphs.refusal = NotImplementedError("cuBLAS while a stream is capturing")
    with caplog.at_level(logging.WARNING, "gpu_mlp"):
        check_like_cpu(TrainingConfig(epochs=4, batch_size=8, optimizer="adam"), 40)
    (message,) = caplog.messages
    assert message == (
        "a step could not be captured and runs as plain launches: cuBLAS while a stream is capturing"
    )


def test_a_replayed_step_is_watched_for_overflow(graphs: Counting) -> None:
    net = Network((5, 3), device="cuda")
    step = TrainingStep(net, loss="squared_error", batch_size=8)
    x, y = np.ones((8, 5), np.float32), np.ones((8, 3), np.float32)
    for _ in range(3):
        step(x, y)
    _, room = step.room_for(8)
    assert isinstance(room, GraphStep)
    assert room.finite_layers() == [True]
    net.weights[0][...] = np.inf
    with np.errstate(invalid="ignore"):
        step(x, y)
    assert room.finite_layers() == [False]


def test_the_clock_is_free_again_after_a_failed_launch(
    graphs: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other steps of the process set it themselves."""
    net = Network((5, 3), device="cuda")
    step = TrainingStep(net, loss="squared_error", batch_size=8)

    def broken(*_: Any) -> None:
        raise RuntimeError("an illegal address")

    _, room = step.room_for(8)
    monkeypatch.setattr(room, "_compute", broken)
    with pytest.raises(RuntimeError, match="an illegal address"):
        step(np.ones((8, 5), np.float32), np.ones((8, 3), np.float32))
    assert not graphs._clock.held


@pytest.fixture
def products(graphs: Counting, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """device="cuda" has every epilogue of cuBLASLt; those of the products that are captured."""
    ops = emulated_ops(missing=frozenset())
    graphs._graphs = ops.graphs
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: replace(ops, graphs=graphs))
    found: list[str] = []
    multiply = FakeCublasLt.matmul

    def watched(lt: FakeCublasLt, handle: int, operation: int, *rest: Any) -> None:
        multiply(lt, handle, operation, *rest)
        if graphs.capturing:
            found.append(lt.calls[-1])

    monkeypatch.setattr(FakeCublasLt, "matmul", watched)
    return found


@pytest.mark.parametrize("precision", ["float32", *ROUNDED_PRECISIONS])
@pytest.mark.parametrize("activation", ["relu", "gelu_tanh"])
def test_captured_products_that_do_everything_in_one_go_train_like_plain_ones_and_the_cpu(
    graphs: Counting, products: list[str], precision: str, activation: str
) -> None:
    """Bias, activation, what it keeps aside and the gradients of both, where layers of one size share a plan."""
    x, y, _ = table(40)
    config = TrainingConfig(
        epochs=6, batch_size=8, optimizer="sgd", learning_rate=0.2, precision=precision, clip_norm=10.0
    )
    losses, parameters = [], []
    for device, refusal in (("cuda", None), ("cuda", NotImplementedError("no capture")), ("cpu", None)):
        graphs.refusal = refusal
        net = Network((5, 16, 16, 16, 3), activation=activation, seed=2, device=device)
        losses.append(train(net, x, y, config).losses)
        parameters.append(net.ops.to_host(net.parameters.flat).tobytes())
    # Five launches of a step to an epoch, the first of them all plain.
    assert (graphs.captures, graphs.replays) == (1, 6 * 5 - 1)
    assert (losses[0], parameters[0]) == (losses[1], parameters[1])
    assert len(set(losses[0])) == 6
    tolerance = {"float32": 1e-5, "bf16": 2e-2}.get(precision, 3e-3)
    np.testing.assert_allclose(losses[0], losses[2], rtol=tolerance)
    if activation == "relu":
        in_one_go = {"RELU_AUX_BIAS": 3, "DRELU": 3}
    else:  # cuBLASLt's is only as exact as a half type
        in_one_go = {"GELU_AUX_BIAS": 3, "DGELU": 3} if precision in ("bf16", "fp16") else {"DEFAULT": 2 * 3}
    assert Counter(products) == in_one_go | {"BIAS": 1, "BGRADB": 4}
