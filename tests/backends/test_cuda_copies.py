"""`CupyCopies` on a stand-in for CuPy's streams and events that writes down what it was asked for."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.cuda_copies import CupyCopies
from gpu_mlp.errors import DeviceError
from tests.backends import fake_cupy
from tests.backends.fake_cupy import CUDARuntimeError, Machine


class Cuda:
    """`cupy.cuda`, with a log of calls."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.pinned_left = 1 << 20
        self.runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError)
        self.device = 0  # the current one
        self.events = 0

    @contextmanager
    def Device(self, index: int) -> Any:  # noqa: N802
        before, self.device = self.device, index
        yield
        self.device = before

    def Stream(self, *, non_blocking: bool = False, name: str = "") -> Any:  # noqa: N802
        label = name or f"{'free' if non_blocking else 'blocking'} stream of {self.device}"

        def wait_event(event: Any) -> None:
            assert event.device == self.device
            self.log.append(f"{label} waits for {event.name}")

        return SimpleNamespace(
            name=label, wait_event=wait_event, synchronize=lambda: self.log.append(f"host waits for {label}")
        )

    def Event(self, *, block: bool, disable_timing: bool) -> Any:  # noqa: N802
        assert block
        assert disable_timing
        name = f"event {self.events}"
        self.events += 1
        return SimpleNamespace(
            name=name,
            device=self.device,
            record=lambda stream: self.log.append(f"{name} on {stream.name}"),
            synchronize=lambda: self.log.append(f"host waits for {name}"),
        )

    def get_current_stream(self) -> Any:
        return self.Stream(name=f"current of {self.device}")

    def alloc_pinned_memory(self, size: int) -> Any:
        if size > self.pinned_left:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        return np.zeros(size + 7, np.uint8)  # rounded up, as CuPy's pool does


class OnDevice:
    """A CuPy array of the device."""

    def __init__(self, host: Any, cuda: Cuda) -> None:
        self.dtype, self.shape, self.flags = host.dtype, host.shape, host.flags
        self.data = SimpleNamespace(
            copy_from_host_async=lambda address, size, stream: cuda.log.append(
                f"{size} bytes from {address} on {stream.name}"
            )
        )


@pytest.fixture
def cuda() -> Cuda:
    return Cuda()


@pytest.fixture
def copies(cuda: Cuda) -> CupyCopies:
    return CupyCopies(SimpleNamespace(cuda=cuda), 3)


def test_copies_run_on_a_stream_of_their_own_between_two_events(cuda: Cuda, copies: CupyCopies) -> None:
    """A blocking stream would wait for all computing on the null stream; another device is the current one."""
    x, y = copies.host_memory((4, 3), np.float32), copies.host_memory((4,), np.int64)
    before = copies.computed()
    done = copies.start([(x, OnDevice(x, cuda)), (y[:2], OnDevice(y[:2], cuda))], before)
    copies.hold_computing(done)
    copies.wait_here(done)
    assert cuda.log == [
        "event 0 on current of 3",
        "free stream of 3 waits for event 0",
        f"48 bytes from {x.ctypes.data} on free stream of 3",
        f"16 bytes from {y.ctypes.data} on free stream of 3",
        "event 1 on free stream of 3",
        "current of 3 waits for event 1",
        "host waits for event 1",
    ]
    assert cuda.device == 0


def test_a_copy_that_cannot_begin_is_an_error_once_those_before_it_are_done(
    cuda: Cuda, copies: CupyCopies
) -> None:
    """Nobody else could wait for them, and their memory goes to somebody else."""
    x = copies.host_memory((4, 3), np.float32)
    broken = OnDevice(x, cuda)
    broken.data = SimpleNamespace(copy_from_host_async=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        copies.start([(x, OnDevice(x, cuda)), (x, broken)], copies.computed())
    assert cuda.log[-2:] == [
        f"48 bytes from {x.ctypes.data} on free stream of 3",
        "host waits for free stream of 3",
    ]


def test_the_host_memory_is_page_locked_and_keeps_its_owner_alive(copies: CupyCopies) -> None:
    memory = copies.host_memory((4, 3), np.float64)
    assert (memory.shape, memory.dtype, memory.flags.c_contiguous) == ((4, 3), np.float64, True)
    assert memory.base is not None
    memory[...] = 1.0


def test_without_page_locked_memory_the_error_says_how_much_was_asked_for(copies: CupyCopies) -> None:
    with pytest.raises(DeviceError) as caught:
        copies.host_memory((3, 2**18), np.float32)
    assert str(caught.value) == (
        "3 MiB of page-locked host memory for copies to cuda:3 cannot be had (cudaErrorMemoryAllocation: out of "
        "memory); end what else holds such memory, or take a smaller batch"
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32)),
        (np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float64)),
        (np.zeros((2, 6), np.float32)[:, ::2], np.zeros((2, 3), np.float32)),
        (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32).T),
    ],
)
def test_what_is_no_copy_of_bytes_is_not_begun(
    cuda: Cuda, copies: CupyCopies, source: Any, target: Any
) -> None:
    with pytest.raises(TypeError, match="must be contiguous, of one type and shape"):
        copies.start([(source, OnDevice(target, cuda))], copies.computed())
    assert not [line for line in cuda.log if "bytes" in line]


def test_an_array_of_the_host_stays_there_and_the_device_becomes_the_current_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    fake_cupy.install(monkeypatch, machine)
    with fake_cupy.no_memory_of_devices():
        from gpu_mlp.backends.cuda_backend import cuda_reference_ops

        ops = cuda_reference_ops(1)
        machine.used.clear()
        x = np.ones(3)
        assert ops.as_array(x) is x
        assert machine.used == [1]
