"""A stand-in for a device that does everything late: copies and steps run when somebody waits, or at a random moment.

On the CPU a call is done when it returns, so that a wait that is missing changes nothing. Here a stream is a queue of
work, marks and waits, as CUDA has it, and the seed says when which stream goes on: an order that is not enforced is not
kept, and gives other numbers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.learning.steps import TrainingStep

__all__ = ["SCHEDULES", "Event", "LateDevice", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """How likely each stream goes on at every moment at which it may, and the seed of chance."""

    copies: float = 0.0
    computing: float = 0.0
    seed: int = 0


SCHEDULES = (
    Schedule(),  # nothing before somebody waits for it
    Schedule(copies=1.0),
    Schedule(computing=1.0),
    Schedule(copies=1.0, computing=1.0),
    *(Schedule(0.3, 0.3, seed) for seed in range(3)),
    *(Schedule(0.8, 0.2, seed) for seed in range(2)),
    *(Schedule(0.2, 0.8, seed) for seed in range(2)),
)


@dataclass(eq=False)
class Event:
    """A mark in a stream."""

    stream: str
    reached: bool = False


@dataclass
class LateDevice:
    """`graphs_and_copies.Copies`, and the steps of a training, each in a stream of its own."""

    schedule: Schedule
    log: list[str] = field(default_factory=list)  # what was done, in that order
    copied: int = 0
    computed_steps: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.schedule.seed)
        self._streams: dict[str, deque[Event | Callable[[], None] | tuple[Event]]] = {
            "copies": deque(),
            "computing": deque(),
        }

    def install(self, monkeypatch: pytest.MonkeyPatch, ops: Ops) -> None:
        """Let a network on the device "cuda" train on this, with the primitives of `ops`."""

        def to_host(array: Array) -> np.ndarray[Any, Any]:
            self.finish()
            return ops.to_host(array)

        late = replace(ops, device="cuda:0", open_copies=lambda: self, to_host=to_host)
        monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: late)
        monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)
        at_once = TrainingStep.run_steps
        monkeypatch.setattr(
            TrainingStep, "run_steps", lambda *arguments: self.launch(partial(at_once, *arguments))
        )

    # What a backend offers.

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Full of what is no number, or no label."""
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 1 << 40, dtype)

    def start(self, pairs: Sequence[tuple[np.ndarray[Any, Any], Array]], after: Event) -> Event:
        number, self.copied = self.copied, self.copied + 1

        def copy() -> None:
            for source, target in pairs:
                target[...] = source
            self.log.append(f"copied {number}")

        self._ask("copies", (after,), copy)
        return self._mark("copies")

    def computed(self) -> Event:
        return self._mark("computing")

    def hold_computing(self, until: Event) -> None:
        self._ask("computing", (until,))

    def wait_here(self, until: Event) -> None:
        self._reach(until)
        self._moment()

    # The device itself.

    def launch(self, work: Callable[[], None]) -> None:
        """Steps."""
        number, self.computed_steps = self.computed_steps, self.computed_steps + 1

        def compute() -> None:
            work()
            self.log.append(f"computed {number}")

        self._ask("computing", compute)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not any(self._streams.values())

    def finish(self) -> None:
        """All that computing was asked for, and what it waits for."""
        self._reach(self._mark("computing"))

    def _mark(self, stream: str) -> Event:
        event = Event(stream)
        self._ask(stream, event)
        return event

    def _ask(self, stream: str, *work: Any) -> None:
        self._streams[stream].extend(work)
        self._moment()

    def _moment(self) -> None:
        """Chance decides which streams go on, and how far."""
        chances = {"copies": self.schedule.copies, "computing": self.schedule.computing}
        while going := [name for name, chance in chances.items() if self._random.random() < chance]:
            self._random.shuffle(going)
            steps = [self._step(name) for name in going]
            if not any(steps):
                return

    def _reach(self, event: Event) -> None:
        """Go on until the mark is reached, and do nothing else."""
        while not event.reached:
            queue = self._streams[event.stream]
            if not self._step(event.stream):
                (blocking,) = queue[0]  # type: ignore[misc]
                self._reach(blocking)

    def _step(self, stream: str) -> bool:
        """The next thing in a stream; False where there is none, or it waits."""
        queue = self._streams[stream]
        if not queue:
            return False
        match queue[0]:
            case (Event() as awaited,):
                if not awaited.reached:
                    return False
                queue.popleft()
            case Event() as event:
                event.reached = True
                queue.popleft()
            case work:
                queue.popleft()
                work()  # type: ignore[operator]
        return True
