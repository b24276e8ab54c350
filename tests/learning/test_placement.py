"""Which table is streamed: by what it needs and what is free, with a line that says why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import Loss, TrainingConfig
from gpu_mlp.errors import DataError, DeviceError, ShapeError
from gpu_mlp.learning import epochs, placement, tables
from gpu_mlp.learning.placement import place_table
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.tables import Column, given_table
from gpu_mlp.learning.training import train
from gpu_mlp.network import network as network_module
from gpu_mlp.network.network import Network

LOSS = Loss("squared_error")
ROWS = 1000
RNG = np.random.default_rng(0)
X, Y, WEIGHTS = RNG.normal(size=(ROWS, 3)), RNG.normal(size=(ROWS, 2)), RNG.random(ROWS)
NEEDED = 4 * ROWS * (3 + 2 + 1)
RESERVE = 2**28 + 8192 * (2 * 5 + 2 * 3) * 4  # and what 8192 rows need in a 3-2 network


def network_with(free: int | None) -> Network:
    """On a device with so many bytes free."""
    net = Network((3, 2), device="cpu")
    net.ops = replace(net.ops, device="cuda:3", free_memory=lambda: free)
    return net


def placed(free: int | None, stream: str, *, more_bytes: int = 0) -> tuple[tables.Table, bool]:
    net = network_with(free)
    table = given_table(net, LOSS, "training table", X, Y, WEIGHTS)
    return place_table(net, LOSS, table, stream, more_bytes=more_bytes)


@pytest.mark.parametrize(
    ("free", "stream", "more_bytes", "streamed"),
    [
        (None, "auto", 0, False),
        (None, "never", 0, False),
        (None, "always", 0, True),
        (NEEDED + RESERVE, "auto", 0, False),
        (NEEDED + RESERVE - 1, "auto", 0, True),
        (NEEDED + RESERVE, "auto", 1, True),
        (NEEDED + RESERVE + 1, "auto", 1, False),
        (NEEDED, "never", 0, False),
        (2**40, "always", 0, True),
        (0, "auto", 0, True),
    ],
)
def test_a_table_is_streamed_where_it_leaves_less_than_the_reserve(
    free: int | None, stream: str, more_bytes: int, streamed: bool
) -> None:
    table, is_streamed = placed(free, stream, more_bytes=more_bytes)
    assert is_streamed is streamed
    # On the host they are as they were given, on the device of the type that a step reads.
    assert all(array.dtype == ("f8" if streamed else "f4") for array in table.arrays if array is not None)


def test_of_much_memory_a_tenth_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "RESERVED_BYTES", 0)
    monkeypatch.setattr(placement, "_forward_bytes", lambda network: 0)
    assert not placed(NEEDED * 10 // 9 + 1, "auto")[1]
    assert placed(NEEDED * 10 // 9 - 10, "auto")[1]


def test_what_is_on_the_device_in_its_type_needs_nothing() -> None:
    """Here the device's memory is the host's."""
    net = network_with(0)
    table = given_table(net, LOSS, "t", X.astype(np.float32), Y.astype(np.float32))
    assert [column.missing_bytes(net.ops) for column in table.columns] == [0, 0]
    table = given_table(net, LOSS, "t", np.asfortranarray(X.astype(np.float32)), Y)
    assert [column.missing_bytes(net.ops) for column in table.columns] == [ROWS * 12, ROWS * 8]


def test_the_log_says_why_a_table_is_streamed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gpu_mlp"):
        placed(200 * 2**20, "auto")
        placed(2**20, "auto")
        placed(None, "always")
        placed(2**40, "auto")
    start = "the training table is streamed from the host: it needs 23.4 KiB of cuda:3, which has "
    assert caplog.messages == [
        start + "200 MiB free, and 256 MiB are kept for other work",
        start + "1.0 MiB free, and 256 MiB are kept for other work",
        'the training table (23.4 KiB) is streamed from the host: stream is "always"',
    ]


def test_never_says_what_was_needed_and_what_was_free() -> None:
    with pytest.raises(DeviceError) as caught:
        placed(NEEDED - 1, "never")
    assert str(caught.value) == (
        "cuda:3 has 23.4 KiB free, but the training table needs 23.4 KiB; "
        'let it be streamed (stream="auto"), give fewer rows, or end what else runs there'
    )


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KiB"),
        (150 * 2**20, "150 MiB"),
        (int(79.2 * 2**30), "79.2 GiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_sizes_are_said_as_people_read_them(size: int, said: str) -> None:
    assert placement._size(size) == said


def test_each_table_is_placed_by_what_the_last_one_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And after all memory of the training itself was allocated."""
    monkeypatch.setattr(placement, "RESERVED_BYTES", 0)
    monkeypatch.setattr(placement, "RESERVED_SHARE", 0.0)
    monkeypatch.setattr(placement, "_forward_bytes", lambda network: 0)
    free = [NEEDED + 16 * ROWS + 128 * 8 - 1, NEEDED]
    net = network_with(None)
    net.ops = replace(net.ops, free_memory=lambda: free.pop(0))
    with caplog.at_level(logging.INFO, "gpu_mlp"):
        train(net, X, Y, TrainingConfig(epochs=1), validation=(X, Y), sample_weight=WEIGHTS)
    (message,) = caplog.messages
    assert message.startswith("the training table is streamed")
    assert not free


@pytest.mark.parametrize(("missing", "streamed"), [(0, []), (1, ["validation"])])
def test_the_validation_table_leaves_room_for_the_first_epoch(
    missing: int, streamed: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whose order and clocks are allocated after it."""
    monkeypatch.setattr(placement, "RESERVED_BYTES", 0)
    monkeypatch.setattr(placement, "RESERVED_SHARE", 0.0)
    monkeypatch.setattr(placement, "_forward_bytes", lambda network: 0)
    to_come = 16 * ROWS + 128 * 8
    free = [2**40, 4 * ROWS * (3 + 2) + to_come - missing]
    net = network_with(None)
    net.ops = replace(net.ops, free_memory=lambda: free.pop(0))
    with caplog.at_level(logging.INFO, "gpu_mlp"):
        train(net, X, Y, TrainingConfig(epochs=1), validation=(X, Y))
    assert [message.split()[1] for message in caplog.messages] == streamed


def test_the_step_of_the_last_batch_has_its_memory_before_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what was left for it might have been given away."""
    net = network_with(None)
    step = TrainingStep(net, loss=LOSS, batch_size=300)
    table = given_table(net, LOSS, "training table", X, Y)
    allocated: list[int] = []
    monkeypatch.setattr(TrainingStep, "_room", lambda self, rows: allocated.append(rows))

    def place(*_: Any, **__: Any) -> tuple[tables.Table, bool]:
        assert allocated == [100]
        return table, False

    monkeypatch.setattr(epochs, "place_table", place)
    epochs.EpochRunner(step, table, "auto")


class DeviceArray(np.ndarray):
    """An array of another type than the host's."""


def device_ops_with(moved: list[int]) -> Any:
    """NumPy's backend with arrays of its own type; every array that is moved there leaves its size."""

    class Arrays:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def empty(self, shape: Any, dtype: Any) -> Array:
            return np.empty(shape, dtype).view(DeviceArray)

        def ascontiguousarray(self, array: Array, dtype: Any) -> Array:
            return np.asanyarray(array, dtype, order="C")

    def to_device(array: Any) -> Array:
        moved.append(np.asarray(array).size)
        return np.array(array).view(DeviceArray)

    return replace(numpy_ops(), xp=Arrays(), to_device=to_device)


@pytest.mark.parametrize("array", [X, X.astype(np.float32), np.asfortranarray(X), RNG.integers(0, 9, ROWS)])
def test_a_column_is_moved_a_few_rows_at_a_time(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ELEMENTS_AT_ONCE", 100)
    moved: list[int] = []
    ops = device_ops_with(moved)
    column = Column(array, np.dtype(np.float32))
    assert column.missing_bytes(ops) == array.size * 4
    assert not moved  # to be told where the array lies
    there = column.on_device(ops)
    assert isinstance(there.array, DeviceArray)
    assert there.missing_bytes(ops) == 0
    assert there.array.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(there.array), array.astype(np.float32))
    assert max(moved) <= 100 < array.size <= sum(moved)


def test_a_call_moves_the_rows_of_one_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 64)
    moved: list[int] = []
    net = Network((3, 2), device="cpu")
    expected = net(X)
    net.ops = device_ops_with(moved)
    np.testing.assert_array_equal(net(X), expected)
    assert max(moved) == 64 * 3


def with_value(array: Array, value: float, row: int) -> Array:
    copy = array.copy()
    copy[row, 1] = value
    return copy


REFUSED: dict[str, tuple[Callable[[], tuple[Any, Any, Any]], type[Exception], str]] = {
    "input": (lambda: (with_value(X, np.nan, 777), Y, None), DataError, "row 777, column 1"),
    "overflow": (
        lambda: (with_value(X, 1e300, 990), Y, None),
        DataError,
        "inf in row 990, column 1, as float32",
    ),
    "target": (lambda: (X, with_value(Y, np.inf, 777), None), ShapeError, "targets hold NaN, infinity"),
    "weight": (lambda: (X, Y, np.where(np.arange(ROWS) == 777, -1.0, 1.0)), DataError, "a negative"),
    "weights": (lambda: (X, Y, np.zeros(ROWS)), DataError, "nothing but zeros"),
    "infinite weight": (lambda: (X, Y, np.where(np.arange(ROWS) == 777, 1e300, 1)), DataError, "infinite"),
    "NaN weight": (lambda: (X, Y, np.where(np.arange(ROWS) == 777, np.nan, 1)), DataError, "NaN"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("stream", ["always", "never"])
def test_values_of_every_block_are_checked(case: str, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far behind the first block, and with the row's number in the table."""
    monkeypatch.setattr(tables, "ELEMENTS_AT_ONCE", 100)
    given, kind, said = REFUSED[case]
    x, y, weights = given()
    with pytest.raises(kind) as caught:
        train(network_with(None), x, y, TrainingConfig(stream=stream), sample_weight=weights)
    assert said in str(caught.value)


def test_labels_of_every_block_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ELEMENTS_AT_ONCE", 100)
    labels = np.arange(ROWS) % 2
    labels[900] = 2
    with pytest.raises(ShapeError, match="labels reach from 0 to 2"):
        train(network_with(None), X, labels, TrainingConfig(stream="always"))
