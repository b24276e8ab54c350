"""A source that is read while it is trained on comes to the bits of the same rows in memory, in the same order."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.errors import DataError, DivergenceError, ShapeError
from gpu_mlp.learning import table_epochs
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import History
from gpu_mlp.learning.randomness import buffer_order
from gpu_mlp.learning.row_source import BufferReader, RowSource
from gpu_mlp.learning.source_epochs import source_order
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.tables import bits, config_of, network_at_start, table_problem
from tests.learning.test_resuming import HoldAt


class Rows:
    """Arrays that are handed out a few rows at a time; the passes are counted."""

    def __init__(self, x: Array, y: Array, block: int = 7, rows: int | None = None) -> None:
        self.x, self.y, self.block, self.passes = x, y, block, 0
        self.rows = len(x) if rows is None else rows

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        self.passes += 1
        for start in range(0, len(self.x), self.block):
            part = slice(start, start + self.block)
            yield self.x[part], self.y[part]


def told(history: History) -> list[dict[str, Any]]:
    """Everything but the times."""
    rows = [asdict(epoch) for epoch in history]
    return [{key: row[key] for key in row if key not in ("seconds", "rows_per_second")} for row in rows]


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "gpu_mlp-reader"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert readers() == []


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize(("buffer", "block"), [(16, 7), (32, 53), (33, 1), (48, 100), (1000, 5)])
def test_it_trains_to_the_bits_of_a_table_in_that_order(
    ops: Ops, loss: str, buffer: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = table_problem(loss)
    config = config_of(problem, buffer_rows=buffer, dropout=0.2, schedule="cosine")
    whole_batches = max(buffer // 16, 1) * 16
    monkeypatch.setattr(
        table_epochs, "epoch_order", lambda seed, epoch, rows: source_order(seed, epoch, rows, whole_batches)
    )
    expected, resident = network_at_start(problem, ops.device), network_at_start(problem, ops.device)
    histories = [
        train(expected, problem.x, problem.y, config, validation=(problem.x[:9], problem.y[:9])),
        train(
            resident,
            Rows(problem.x, problem.y, block),
            None,
            config,
            validation=(problem.x[:9], problem.y[:9]),
        ),
    ]
    assert told(histories[0]) == told(histories[1])
    assert bits(expected) == bits(resident)


def test_every_row_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    orders = [source_order(seed, epoch, 100, 32) for seed in (0, 1) for epoch in (1, 2)]
    for order in orders:
        assert sorted(order) == list(range(100))
        for start in (0, 32, 64):
            assert sorted(order[start : start + 32]) == list(
                range(start, start + len(order[start : start + 32]))
            )
    assert len({order.tobytes() for order in orders}) == 4
    parts = {buffer_order(0, 1, number, 32).tobytes() for number in range(50)}
    assert len(parts) == 50


def test_without_shuffling_the_order_is_the_sources(ops: Ops) -> None:
    problem = table_problem("squared_error")
    config = config_of(problem, shuffle=False, buffer_rows=16)
    one, other = network_at_start(problem, ops.device), network_at_start(problem, ops.device)
    train(one, problem.x, problem.y, config)
    train(other, Rows(problem.x, problem.y), None, config)
    assert bits(one) == bits(other)


@pytest.mark.parametrize("step", range(1, 12))
def test_it_goes_on_from_any_step(ops: Ops, step: int) -> None:
    problem = table_problem("squared_error")
    config = config_of(problem, buffer_rows=32, dropout=0.2)
    source = Rows(problem.x, problem.y)
    whole = network_at_start(problem, ops.device)
    expected = train(whole, source, None, config)
    hold = HoldAt(step)
    train(network_at_start(problem, ops.device), source, None, config, callbacks=[hold])
    resumed = network_at_start(problem, ops.device)
    assert told(train(resumed, source, None, config, resume=hold.states[0])) == told(expected)
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize(
    ("there", "said", "message"), [(52, 53, "has 52 rows now"), (53, 50, "more than 50 rows now")]
)
def test_a_source_with_other_rows_than_it_said_is_refused(there: int, said: int, message: str) -> None:
    problem = table_problem("squared_error")
    source = Rows(problem.x[:there], problem.y[:there], rows=said)
    with pytest.raises(DataError, match=f"{message}, but had {said}; leave it as it is"):
        train(network_at_start(problem, "cpu"), source, None, config_of(problem, buffer_rows=16))


def test_a_source_that_changes_between_epochs_is_noticed() -> None:
    problem = table_problem("squared_error")

    class Growing(Rows):
        def blocks(self) -> Iterator[tuple[Array, Array]]:
            yield from super().blocks()
            if self.passes > 3:  # the look at its targets, and two epochs
                yield self.x[:1], self.y[:1]

    with pytest.raises(DataError, match="more than 53 rows now, but had 53"):
        train(network_at_start(problem, "cpu"), Growing(problem.x, problem.y), None, config_of(problem))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (3, "the source has nan in row 3, column 1"),
        (43, "the block of the source from row 32 on has nan in row 11, column 1"),
    ],
)
def test_values_that_cannot_be_taken_are_named_with_their_block(row: int, message: str) -> None:
    problem = table_problem("squared_error")
    x = problem.x.copy()
    x[row, 1] = np.nan
    with pytest.raises(DataError, match=message):
        train(network_at_start(problem, "cpu"), Rows(x, problem.y), None, config_of(problem, buffer_rows=16))


def test_what_the_source_raises_comes_out() -> None:
    problem = table_problem("squared_error")

    class Broken(Rows):
        def blocks(self) -> Iterator[tuple[Array, Array]]:
            yield self.x[:30], self.y[:30]
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(
            network_at_start(problem, "cpu"),
            Broken(problem.x, problem.y),
            None,
            config_of(problem, buffer_rows=16),
        )


def test_blocks_of_another_shape_are_refused() -> None:
    problem = table_problem("squared_error")
    with pytest.raises(ShapeError, match="but the network takes"):
        train(network_at_start(problem, "cpu"), Rows(problem.x[:, :2], problem.y), None, config_of(problem))


def test_divergence_is_reported_as_on_a_table() -> None:
    problem = table_problem("squared_error")
    config = config_of(problem, learning_rate=1e200, optimizer="sgd", shuffle=False, buffer_rows=16)
    found = []
    for x, y in ((problem.x, problem.y), (Rows(problem.x, problem.y), None)):
        network = network_at_start(problem, "cpu")
        with pytest.raises(DivergenceError) as caught:
            train(network, x, y, config)
        found.append((str(caught.value), caught.value.step, bits(network)))
    assert found[0] == found[1]


def test_the_reader_is_at_most_a_few_buffers_ahead() -> None:
    problem = table_problem("squared_error")
    seen: list[int] = []

    class Watched(Rows):
        def blocks(self) -> Iterator[tuple[Array, Array]]:
            for at in range(0, len(self.x), 4):
                seen.append(at)
                yield self.x[at : at + 4], self.y[at : at + 4]

    network = network_at_start(problem, "cpu")
    loss = problem.loss
    reader = BufferReader(network, loss, Watched(problem.x, problem.y), 4, lambda _, rows: np.arange(rows))
    try:
        first = reader.next()
        assert first is not None
        assert (first.number, first.first, len(first.table)) == (0, 0, 4)
        time.sleep(0.3)
        assert max(seen) <= 4 * 4  # one waits, one is handed over, and a block has been asked for
    finally:
        reader.close()


@pytest.mark.parametrize("what", ["fewer targets", "another width", "targets of another shape"])
def test_blocks_that_do_not_go_together_are_refused(what: str) -> None:
    problem = table_problem("squared_error")

    class Odd(Rows):
        def blocks(self) -> Iterator[tuple[Array, Array]]:
            yield self.x[:10], self.y[:10]
            x, y = self.x[10:20], self.y[10:20]
            if what == "fewer targets":
                yield x, y[1:]
            elif what == "another width":
                yield x[:, 1:], y
            else:
                yield x, y[:, :1]

    with pytest.raises(ShapeError, match=r"the source gives a block of shapes .* but .* were expected"):
        train(network_at_start(problem, "cpu"), Odd(problem.x, problem.y), None, config_of(problem))


def test_blocks_of_several_types_are_joined_in_one_that_has_room_for_all() -> None:
    problem = table_problem("squared_error")
    whole = problem.x.astype(np.float64).round()

    class Mixed(Rows):
        def blocks(self) -> Iterator[tuple[Array, Array]]:
            yield whole[:10].astype(np.int16), self.y[:10]
            yield whole[10:20] + 0.25, self.y[10:20]
            yield whole[20:].astype(np.float32), self.y[20:]

    network = network_at_start(problem, "cpu")
    reader = BufferReader(
        network, problem.loss, Mixed(whole, problem.y), len(whole), lambda _, rows: np.arange(rows)
    )
    buffer = reader.next()
    reader.close()
    assert buffer is not None
    expected = np.concatenate([whole[:10], whole[10:20] + 0.25, whole[20:]])
    np.testing.assert_array_equal(buffer.table.arrays[0], expected)


def test_a_callback_that_fails_ends_the_reader(ops: Ops) -> None:
    class Failing(Callback):
        def on_epoch_end(self, *_: Any) -> None:
            raise RuntimeError("no more")

    problem = table_problem("squared_error")
    with pytest.raises(RuntimeError, match="no more"):
        train(
            network_at_start(problem, ops.device),
            Rows(problem.x, problem.y),
            None,
            config_of(problem, buffer_rows=16),
            callbacks=[Failing()],
        )


def test_memory_is_that_of_a_few_buffers() -> None:
    class Large:
        rows = 200_000

        def blocks(self) -> Iterator[tuple[Array, Array]]:
            for start in range(0, self.rows, 1000):
                x = np.full((1000, 50), start / self.rows, np.float32)
                yield x, np.zeros((1000, 1), np.float32)

    config = config_of(table_problem("squared_error"), epochs=1, batch_size=500, buffer_rows=5000)
    assert isinstance(Large(), RowSource)
    tracemalloc.start()
    try:
        train(Network((50, 1), device="cpu"), Large(), None, config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6  # of 40 MB
