"""Threads that share the parts of a compiled computation, and meet within it.

A team has this thread and helpers, which wait in a loop of machine code without Python's lock. A computation is cut
into parts, and how many there are is fixed by the work alone: whoever is free takes the next one, so that the bits do
not depend on who came in time, and a helper that sleeps is not waited for but done without. One that loses its
processor within a part must be waited for; where that happens often, since others compute on this machine as well, this
thread computes alone for a while.

To meet takes half a microsecond; a call by Python to another thread takes a hundred times as long.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np
from numba import types

from gpu_mlp.backends.blas_threads import limit_own_thread
from gpu_mlp.backends.compiled.atomics import (
    add_at,
    exchanged_at,
    load_at,
    pause,
    store_at,
)
from gpu_mlp.backends.compiled.machine_code import call, entry_point, loop_formula
from gpu_mlp.backends.records import Array
from gpu_mlp.backends.threads import processors

__all__ = ["NOBODY", "helped", "share_out"]

# Where the numbers of a team lie, 64 bytes each, which is what processors hand each other: whose turn it is, how many
# parts are done, what is to be done, whether to end, how often helpers kept this thread waiting of late; and of every
# helper whether it sleeps.
LINE = 64
TICKET, DONE, WORK, ENDS, DELAYS, ASLEEP = (LINE * i for i in range(6))
FUNCTION, JOB, YIELD, CLOCK = WORK, WORK + 8, WORK + 16, WORK + 24
# A ticket is one number: how many computations there were, the parts of this one, and which part comes next.
PART_BITS = 16
PART_MASK = (1 << PART_BITS) - 1
# In the place of a team: this thread does every part.
NOBODY = 0
# How often a helper looks for work before it sleeps, about a millisecond, and for how many of those looks it does not
# offer its processor to another thread.
LOOKS, LOOKS_ALONE = 20_000, 2_000
# A wait is a delay where it is so many nanoseconds longer than twice what this thread computed. Each counts as much as
# so many computations without one, and above so many there is no help for so many seconds.
DELAY, DELAY_WEIGHS, MOST_DELAYS, SECONDS_ALONE = 100_000, 4, 12, 0.1
MONOTONIC = getattr(time, "CLOCK_MONOTONIC", 0)
# To wake a helper takes this thread some 20 us: it is worth it for so many multiplications, or where the last
# computation ended so many seconds ago.
WORTH_WAKING, SOON = 1 << 23, 1e-3


@loop_formula
def take_part(team: int, ticket: int) -> bool:
    """Do the next part of the ticket, if there is one and nobody else takes it; whether it was done."""
    part = ticket & PART_MASK
    if part >= (ticket >> PART_BITS) & PART_MASK or not exchanged_at(team + TICKET, ticket, ticket + 1):
        return False
    call(load_at(team + FUNCTION), (load_at(team + JOB), part))
    add_at(team + DONE, 1)
    return True


@loop_formula
def share_out(team: int, function: int, job: int, parts: int) -> None:
    """Call the function with the job and every number below `parts`; returns when all are done."""
    if team == NOBODY or parts == 1 or load_at(team + DELAYS) > MOST_DELAYS:
        for part in range(parts):
            call(function, (job, part))
        return
    times = np.empty(2, np.int64)
    started = nanoseconds(team, times)
    store_at(team + FUNCTION, function)
    store_at(team + JOB, job)
    store_at(team + DONE, 0)
    turn = load_at(team + TICKET) >> (2 * PART_BITS)
    store_at(team + TICKET, ((turn + 1) << (2 * PART_BITS)) | (parts << PART_BITS))
    while take_part(team, load_at(team + TICKET)) or load_at(team + TICKET) & PART_MASK < parts:
        pass
    if load_at(team + DONE) < parts:
        wait_for_others(team, parts, started, times)
    elif load_at(team + DELAYS) > 0:
        add_at(team + DELAYS, -1)


@loop_formula
def wait_for_others(team: int, parts: int, started: int, times: Array) -> None:
    """Until all parts are done; takes note where that is long after this thread did its own."""
    looks, ended = 0, nanoseconds(team, times)
    while load_at(team + DONE) < parts:
        wait(team, looks)
        looks += 1
    if nanoseconds(team, times) - ended > 2 * (ended - started) + DELAY:
        add_at(team + DELAYS, DELAY_WEIGHS)
    elif load_at(team + DELAYS) > 0:
        add_at(team + DELAYS, -1)


@loop_formula
def nanoseconds(team: int, times: Array) -> Any:
    """Of a clock that only goes forward."""
    call(load_at(team + CLOCK), (MONOTONIC, times.ctypes.data))
    return times[0] * 1_000_000_000 + times[1]


@loop_formula
def wait(team: int, looks: int) -> None:
    """A moment; once there were many, another thread may have the processor."""
    pause()
    if looks > LOOKS_ALONE:
        call(load_at(team + YIELD), ())


def help_out(team: int, own: int) -> None:
    """Take parts until there were none for a while; then writes into `own` that this helper sleeps."""
    looks = 0
    while load_at(team + ENDS) == 0:
        if take_part(team, load_at(team + TICKET)):
            looks = 0
            continue
        wait(team, looks)
        looks += 1
        if looks == LOOKS:
            store_at(own, 1)
            return


@cache
def _compiled_help() -> Callable[[int, int], None]:
    return entry_point(help_out, "help_out", types.int64, types.int64)


class _Helper:
    """A thread that takes parts, and sleeps where there were none for a while."""

    def __init__(self, team: int, asleep: int, numbers: memoryview) -> None:
        self._team, self._asleep, self._numbers = team, asleep, numbers
        self._bell = threading.Lock()
        self._bell.acquire()
        numbers[asleep // 8] = 1
        self._thread = threading.Thread(target=self._serve, name="gpu_mlp", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        help_out = _compiled_help()
        limit_own_thread()
        while self._numbers[ENDS // 8] == 0:
            self._bell.acquire()
            help_out(self._team, self._team + self._asleep)

    def wake(self) -> None:
        """Unless it is awake. Only whoever has the team calls it."""
        if self._numbers[self._asleep // 8]:
            self._numbers[self._asleep // 8] = 0
            self._bell.release()

    def end(self) -> None:
        """Once the team ends."""
        self.wake()
        self._thread.join()


class _Team:
    """The helpers of this process, which one thread has at a time."""

    def __init__(self, helpers: int) -> None:
        room = np.zeros((ASLEEP + LINE * (helpers + 1)) // 8, np.int64)
        numbers = room[-room.ctypes.data % LINE // 8 :]
        library = ctypes.CDLL(None)
        for place, function in ((YIELD, library.sched_yield), (CLOCK, library.clock_gettime)):
            numbers[place // 8] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self.address = int(numbers.ctypes.data)
        self._numbers = memoryview(numbers)  # type: ignore[arg-type]
        self.taken = threading.Lock()
        self.left_at = self.alone_until = 0.0
        self.helpers = [_Helper(self.address, ASLEEP + LINE * i, self._numbers) for i in range(helpers)]

    def is_delayed(self) -> bool:
        """Whether helpers kept their threads waiting so often that there is no help for now."""
        if self._numbers[DELAYS // 8] <= MOST_DELAYS:
            return False
        if self.alone_until == 0.0:
            self.alone_until = perf_counter() + SECONDS_ALONE
        elif perf_counter() >= self.alone_until:
            self.alone_until, self._numbers[DELAYS // 8] = 0.0, 0
            return False
        return True

    def end(self) -> None:
        """At the end of the process, before Python's own."""
        self._numbers[ENDS // 8] = 1
        for helper in self.helpers:
            helper.end()


@cache
def _team() -> _Team | None:
    """One helper for each processor but one, or nobody; Windows has none of the functions that are called."""
    helpers = processors() - 1
    if helpers < 1 or not hasattr(time, "clock_gettime"):
        return None
    team = _Team(helpers)
    atexit.register(team.end)
    return team


class helped:  # noqa: N801  a context, whose value is the team or nobody
    """For a computation in so many parts and multiplications. Who finds the team taken computes alone.

    A helper that sleeps is woken for a long computation, or one of many that follow each other.
    """

    def __init__(self, parts: int, multiplications: int) -> None:
        self._parts, self._is_long = parts, multiplications >= WORTH_WAKING
        self._has: _Team | None = None

    def __enter__(self) -> int:
        team = _team() if self._parts > 1 else None
        if team is None or not team.taken.acquire(blocking=False):
            return NOBODY
        self._has = team
        if team.is_delayed():
            return NOBODY
        if self._is_long or perf_counter() - team.left_at < SOON:
            for helper in team.helpers[: self._parts - 1]:
                helper.wake()
        return team.address

    def __exit__(self, *exception: object) -> None:
        if self._has is not None:
            self._has.left_at = perf_counter()
            self._has.taken.release()
            self._has = None


# A forked process has the team but not its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_team.cache_clear)
