"""What waits for what in a streamed epoch: on a device that is as late as it may be, and with waits left out."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import DeviceError, DivergenceError
from gpu_mlp.learning import epochs, streaming
from gpu_mlp.learning.tables import Table, given_table
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.backends.emulated import emulated_ops
from tests.learning.late_device import SCHEDULES, Event, LateDevice, Schedule

ROWS, BATCH, STEPS_A_CHUNK = 75, 4, 2  # nine chunks of 8 rows and one of 3
CHUNKS = -(-ROWS // (BATCH * STEPS_A_CHUNK))
ROW_BYTES = 4 * (5 + 3 + 1)
CONFIG = TrainingConfig(epochs=2, batch_size=BATCH, optimizer="sgd", learning_rate=0.05, seed=3)


@pytest.fixture(params=["numpy", "cuda-emulated"])
def ops(request: pytest.FixtureRequest) -> Ops:
    if request.param == "numpy":
        return numpy_ops()
    try:
        return emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_BYTES", ROW_BYTES * BATCH * STEPS_A_CHUNK)


def rows() -> dict[str, Any]:
    """Any number will do for x, y and weights: what is read too early is wrong, and refused by nobody."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(ROWS, 5)).astype(np.float32),
        "y": rng.normal(size=(ROWS, 3)).astype(np.float32),
        "sample_weight": rng.random(ROWS).astype(np.float32) + 0.5,
    }


def trained(monkeypatch: pytest.MonkeyPatch, ops: Ops, schedule: Schedule, stream: str) -> bytes | None:
    """Losses and parameters of a training on a late device; None where it diverged."""
    with monkeypatch.context() as patch:
        device = LateDevice(schedule)
        device.install(patch, ops)
        net = Network((5, 9, 3), activation="tanh", seed=2, device="cuda")
        try:
            history = train(net, config=TrainingConfig(**{**vars(CONFIG), "stream": stream}), **rows())
        except DivergenceError:
            return None
        return np.array(history.losses).tobytes() + ops.to_host(net.parameters.flat).tobytes()


def differing(monkeypatch: pytest.MonkeyPatch, ops: Ops) -> list[Schedule]:
    """The schedules under which a streamed table trains otherwise than one on the device."""
    expected = trained(monkeypatch, ops, Schedule(), "never")
    assert expected is not None
    return [each for each in SCHEDULES if trained(monkeypatch, ops, each, "always") != expected]


def test_however_late_the_device_is_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch, ops: Ops) -> None:
    assert differing(monkeypatch, ops) == []


@dataclass(frozen=True)
class Bug:
    """What is replaced in the source of `learning.streaming`."""

    right: str
    wrong: str


LAUNCH = "step.run_steps(slot.device, order_here, learning_rates[part], losses[part], tell)"
BUGS = {
    "computing does not wait for its copy": Bug("copies.hold_computing(slot.copied)", "pass"),
    "computing waits for the copy of the other slot": Bug(
        "copies.hold_computing(slot.copied)", "copies.hold_computing(slots[(number + 1) % 2].copied)"
    ),
    "the host refills what is still copied": Bug("self._copies.wait_here(slot.copied)", "pass"),
    "a copy overwrites what steps still read": Bug("slot.used = copies.computed()", "pass"),
    "the steps are marked before they are launched": Bug(
        f"{LAUNCH}\n                slot.used = copies.computed()",
        f"slot.used = copies.computed()\n                {LAUNCH}",
    ),
    "both slots have one memory on the host": Bug(
        "self._slots = [self._slot(ops), self._slot(ops)]",
        "self._slots = [self._slot(ops), self._slot(ops)]; self._slots[1].host = self._slots[0].host",
    ),
    "both slots have one memory on the device": Bug(
        "self._slots = [self._slot(ops), self._slot(ops)]",
        "self._slots = [self._slot(ops), self._slot(ops)]; self._slots[1].device = self._slots[0].device",
    ),
    "the chunk before is trained again": Bug("chunks[number + 1])", "chunks[number])"),
}


def planted(bug: Bug) -> Any:
    """The module with the bug."""
    source = inspect.getsource(streaming)
    assert source.count(bug.right) == 1
    module = ModuleType(streaming.__name__)
    exec(compile(source.replace(bug.right, bug.wrong), "planted", "exec"), module.__dict__)
    module.__dict__["CHUNK_BYTES"] = streaming.CHUNK_BYTES
    module.__dict__["Event"] = Event
    return module


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_gives_other_numbers(monkeypatch: pytest.MonkeyPatch, ops: Ops, name: str) -> None:
    monkeypatch.setattr(epochs, "TableStream", planted(BUGS[name]).TableStream)
    assert differing(monkeypatch, ops) != []


def streamed_table(device: LateDevice, monkeypatch: pytest.MonkeyPatch) -> tuple[Network, Table]:
    device.install(monkeypatch, numpy_ops())
    net = Network((5, 3), seed=2, device="cuda")
    given = rows()
    weights = given.pop("sample_weight")
    loss = CONFIG.loss_settings(labels=False)
    return net, given_table(net, loss, "training table", **given, sample_weight=weights)


class StepThatLooks:
    """In place of a training step: what the device had done by the time it was launched."""

    batch_size = BATCH

    def __init__(self, device: LateDevice) -> None:
        self.device = device
        self.seen: list[list[str]] = []

    def run_steps(self, *_: Any) -> None:
        self.device.launch(lambda: None)
        self.seen.append(list(self.device.log))


def overlap(step: Any, stream: Any) -> list[list[str]]:
    """What was done by each launch of an epoch."""
    steps = -(-ROWS // BATCH)
    stream.run_steps(step, np.arange(ROWS), [0.1] * steps, np.zeros(steps), lambda done: None)
    return list(step.seen)


def seen_with(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[list[str]]:
    """On a device that copies at once and computes as late as it may."""
    device = LateDevice(Schedule(copies=1.0))
    net, table = streamed_table(device, monkeypatch)
    return overlap(StepThatLooks(device), module.TableStream(net.ops, table, BATCH))


def test_the_next_chunk_is_gathered_and_copied_while_the_last_ones_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = seen_with(monkeypatch, streaming)
    assert len(seen) == CHUNKS
    for number, log in enumerate(seen[1:], 1):
        # The host is four chunks ahead of the steps, for which it waits only because the copies do; and those need the
        # steps of two chunks before.
        done = [each for n in range(number - 3) for each in (f"computed {n}", f"copied {n + 2}")]
        assert log == ["copied 0", "copied 1", *done]


def test_with_one_slot_nothing_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    one = Bug("self._slots = [self._slot(ops), self._slot(ops)]", "self._slots = [self._slot(ops)] * 2")
    seen = seen_with(monkeypatch, planted(one))
    assert "copied 1" not in seen[1]


@pytest.mark.parametrize(
    ("bug", "waits"),
    [
        (None, True),
        (Bug("begun = self._copies.computed()", 'begun = Event("computing", reached=True)'), False),
    ],
    ids=["as it is", "planted"],
)
def test_no_copy_overtakes_what_was_launched_before(
    monkeypatch: pytest.MonkeyPatch, bug: Bug | None, waits: bool
) -> None:
    """The device's memory may be somebody's who gave it up with work still to be done."""
    device = LateDevice(Schedule(copies=1.0))
    net, table = streamed_table(device, monkeypatch)
    device.launch(lambda: None)
    module: Any = streaming if bug is None else planted(bug)
    overlap(StepThatLooks(device), module.TableStream(net.ops, table, BATCH))
    assert (device.log.index("computed 0") < device.log.index("copied 0")) is waits


def under_way_after_an_error(
    monkeypatch: pytest.MonkeyPatch, module: Any, schedule: Schedule, fails_at: int
) -> int:
    """Copies that were begun and are not done when Ctrl-C is pressed at a launch."""
    device = LateDevice(schedule)
    net, table = streamed_table(device, monkeypatch)

    class Failing(StepThatLooks):
        def run_steps(self, *arguments: Any) -> None:
            if len(self.seen) == fails_at:
                raise KeyboardInterrupt
            super().run_steps(*arguments)

    with pytest.raises(KeyboardInterrupt):
        overlap(Failing(device), module.TableStream(net.ops, table, BATCH))
    return device.copied - sum(line.startswith("copied") for line in device.log)


@pytest.mark.parametrize("fails_at", [0, 1, 4])
def test_after_an_error_no_copy_is_under_way(monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    """Its memory may be somebody else's from then on."""
    for schedule in SCHEDULES:
        assert under_way_after_an_error(monkeypatch, streaming, schedule, fails_at) == 0


def test_copies_that_nobody_waits_for_after_an_error_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    hasty = planted(
        Bug(
            "                copies.wait_here(slot.copied)\n            raise",
            "                pass\n            raise",
        )
    )
    assert under_way_after_an_error(monkeypatch, hasty, Schedule(), 4) > 0
