"""A streamed table trains as one on the device: the same bits, from any array, with as many captures as slots."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.config import OPTIMIZER_NAMES, TrainingConfig
from gpu_mlp.errors import DivergenceError
from gpu_mlp.learning import streaming, tables
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import History
from gpu_mlp.learning.steps.cuda_graph import STEPS_A_LAUNCH
from gpu_mlp.learning.training import train
from gpu_mlp.network import network as network_module
from gpu_mlp.network.network import Network
from tests.learning.tables import ROWS, bits, config_of, network_at_start, table_problem


@pytest.fixture(params=[1, 3, 100])
def steps_a_chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of one step, of a few with the last one smaller, and a chunk for the whole epoch."""
    monkeypatch.setattr(streaming, "_steps_a_chunk", lambda size: request.param)
    return int(request.param)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of rows in every loop over them."""
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(streaming, "ELEMENTS_AT_ONCE", 20)
    monkeypatch.setattr(tables, "ELEMENTS_AT_ONCE", 40)


def told(history: History) -> list[tuple[Any, ...]]:
    """Everything but the times."""
    return [
        (each.epoch, each.step, each.learning_rate, each.loss, each.validation_loss, each.validation_metric)
        for each in history
    ]


def check_same(run: Callable[[str], tuple[Network, History]]) -> None:
    """`run` trains with a value of `stream`; whichever it is, the bits are the same."""
    (resident, expected), (streamed, actual) = run("never"), run("always")
    assert bits(streamed) == bits(resident)
    assert told(actual) == told(expected)
    assert len({each.loss for each in actual}) == len(actual)  # it does train


@pytest.mark.usefixtures("small_blocks", "steps_a_chunk")
@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss_trains_to_the_same_bits(ops: Ops, loss: str, weighted: bool) -> None:
    problem = table_problem(loss, weighted=weighted)
    validation = table_problem(loss, rows=37, seed=1)

    def run(stream: str) -> tuple[Network, History]:
        net = network_at_start(problem, ops.device, "float32")
        config = config_of(problem, stream=stream, dropout=0.2, schedule="cosine", clip_norm=1.0)
        given: dict[str, Any] = {"sample_weight": problem.sample_weight}
        return net, train(net, problem.x, problem.y, config, validation=(validation.x, validation.y), **given)

    check_same(run)


@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
def test_every_optimizer_trains_to_the_same_bits(
    ops: Ops, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a launch of captured steps."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 17 * 2 * (3 + 4) * 8)
    problem = table_problem("squared_error", rows=2 * (2 * STEPS_A_LAUNCH + 3) + 1)

    def run(stream: str) -> tuple[Network, History]:
        net = network_at_start(problem, ops.device)
        config = config_of(problem, stream=stream, optimizer=optimizer, batch_size=2, epochs=4)
        return net, train(net, problem.x, problem.y, config)

    check_same(run)


X = np.random.default_rng(0).normal(size=(ROWS, 3))
X[7, 1] = 1e-310  # less than float32 has
LABELS = np.random.default_rng(1).integers(0, 4, ROWS)


@pytest.mark.usefixtures("small_blocks", "steps_a_chunk")
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, LABELS),
        (X.astype(np.float32), LABELS.astype(np.int32)),
        (np.asfortranarray(X), LABELS.astype(np.uint8)),
        (np.asfortranarray(X.astype(np.float32)), LABELS[::-1]),
        (X.astype(">f4"), LABELS.astype(">i8")),
        ((X * 50).astype(np.int8), LABELS == 1),
        (np.repeat(X, 2, axis=0)[::2], np.eye(4)[LABELS]),
        (X.astype(np.float16).tolist(), LABELS.tolist()),
    ],
    ids=str,
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_any_array_trains_to_the_same_bits(ops: Ops, x: Any, y: Any, shuffle: bool) -> None:
    def run(stream: str) -> tuple[Network, History]:
        net = Network((3, 5, 4), seed=1, device=ops.device)
        config = TrainingConfig(epochs=3, batch_size=8, shuffle=shuffle, stream=stream, patience=2)
        return net, train(net, x, y, config, validation=(x, y), sample_weight=np.arange(ROWS))

    check_same(run)


def test_a_flat_target_of_one_output_is_streamed(ops: Ops) -> None:
    def run(stream: str) -> tuple[Network, History]:
        net = Network((3, 5, 1), seed=1, device=ops.device)
        config = TrainingConfig(epochs=3, batch_size=8, stream=stream)
        return net, train(net, X, X[:, 0], config, validation=(X, X[:, 0]))

    check_same(run)


def test_a_large_table_trains_to_the_same_bits(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device, copies and steps that really run beside each other."""
    if "emulated" in ops.name:
        pytest.skip("too slow on the emulator")
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1 << 20)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1 << 16, 64)).astype(np.float32), rng.integers(0, 4, 1 << 16)

    def run(stream: str) -> tuple[Network, History]:
        net = Network((64, 16, 4), seed=1, device=ops.device)
        return net, train(net, x, y, TrainingConfig(epochs=2, batch_size=128, stream=stream))

    check_same(run)


class Watching(Callback):
    """How many rows were done whenever progress was told."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def on_progress(self, run: Any, rows_done: int) -> None:
        self.rows.append(rows_done)


def test_progress_counts_the_rows_of_all_chunks(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_mlp.learning.epochs.SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(streaming, "_steps_a_chunk", lambda size: 2)
    watching = Watching()
    net = Network((3, 4), device=ops.device)
    train(net, X, LABELS, TrainingConfig(epochs=1, batch_size=8, stream="always"), callbacks=[watching])
    assert {16, 32, 48, ROWS} <= set(watching.rows) <= {8, 16, 24, 32, 40, 48, ROWS}  # a chunk has two steps
    assert watching.rows == sorted(watching.rows)


@pytest.mark.parametrize("stream", ["never", "always"])
def test_a_divergence_is_found_on_a_streamed_table_as_well(
    ops: Ops, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_steps_a_chunk", lambda size: 2)
    x = np.ones((ROWS, 1), np.float32)
    x[17] = 1e30
    net = Network((1, 1, 1), activation="identity", device=ops.device)
    net.set_parameters([[[1e9]], [[1.0]]], [[0.0], [0.0]])
    before = bits(net)
    config = TrainingConfig(
        epochs=2, batch_size=4, shuffle=False, optimizer="sgd", learning_rate=1e-30, stream=stream
    )
    with pytest.raises(DivergenceError) as caught:
        train(net, x, np.zeros((ROWS, 1)), config)
    assert (caught.value.step, caught.value.layer) == (5, 0)
    assert bits(net) == before


def test_graphs_are_captured_once_for_each_slot(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many chunks and epochs there are."""
    if ops.graphs is None or not hasattr(ops.graphs, "capture"):
        pytest.skip(f"{ops.name} captures nothing")
    captures = 0
    capture = ops.graphs.capture

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(ops.graphs, name)

        def capture(self, work: Callable[[], None]) -> Callable[[], None]:
            nonlocal captures
            captures += 1
            return capture(work)

    counting: Any = Counting()
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: replace(ops, graphs=counting))
    monkeypatch.setattr(streaming, "_steps_a_chunk", lambda size: STEPS_A_LAUNCH)
    x, y = np.tile(X, (7, 1)), np.tile(LABELS, 7)  # 185 steps of 2 rows, 12 chunks, and the last of 1 row
    net = Network((3, 4), device="cuda")
    train(net, x, y, TrainingConfig(epochs=4, batch_size=2, stream="always"))
    # 16 steps a launch from either slot; a step a launch from that of the last chunk, and the last step.
    assert captures == 4


def large_table(folder: Path, rows: int) -> tuple[Array, Array]:
    """Memory-mapped, read-only, and of types that a step does not read."""
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.normal(size=(rows, 64)))
    np.save(folder / "y.npy", rng.integers(0, 4, rows).astype(np.uint8))
    return np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "y.npy", mmap_mode="r")


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_memory_mapped_table_is_never_copied_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Neither to be checked, nor trained on, nor evaluated; in rows or in columns."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(tables, "ELEMENTS_AT_ONCE", 1 << 14)
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 256)
    x, y = large_table(tmp_path, 1 << 15)
    if order == "F":
        np.save(tmp_path / "f.npy", np.asfortranarray(x))
        x = np.load(tmp_path / "f.npy", mmap_mode="r")
        assert not x.flags.c_contiguous
    peaks = {}
    for stream in ("always", "never"):
        net = Network((64, 8, 4), device="cpu")
        config = TrainingConfig(epochs=1, batch_size=64, stream=stream)
        tracemalloc.start()
        try:
            train(net, x, y, config, validation=(x, y), metric=lambda outputs, targets: 0.0)
            net(x[: 1 << 14])
            peaks[stream] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # Beside chunks there are some numbers for every row: its place in the order, and its outputs.
    assert peaks["always"] < x.nbytes / 3
    assert peaks["never"] > x.nbytes / 2  # the control: the table in float32


def test_a_chunk_is_whole_launches_or_few_large_steps() -> None:
    of = streaming._steps_a_chunk
    size = streaming.CHUNK_BYTES
    assert of(size * 2) == of(size) == 1
    assert of(size // 15) == 15
    assert of(size // 16) == of(size // 31) == 16
    assert of(size // 1000) == 992
    assert of(0) % STEPS_A_LAUNCH == 0
