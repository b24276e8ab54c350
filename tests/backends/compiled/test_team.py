"""Threads that share the parts of a compiled computation: every part once, whoever comes, and nobody waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import c_int64
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from numba import carray, types

from gpu_mlp.backends.compiled import team
from gpu_mlp.backends.compiled.atomics import add_at, exchanged_at, load_at, store_at
from gpu_mlp.backends.compiled.machine_code import address_of, callable_at, entry_point, pointer_to

MOST = 64


def count_part(counts: Any, part: int) -> None:
    """One more, in a while, so that two threads at one part would lose some."""
    of_part = carray(counts, MOST)
    for _ in range(50):
        of_part[part] += 1
    of_part[part] -= 49


def share_out_often(whose: int, function: int, job: int, parts: int, times: int) -> None:
    for _ in range(times):
        team.share_out(whose, function, job, parts)


@cache
def compiled_count() -> int:
    return address_of(count_part, "counts_of_a_test", pointer_to("int64"), types.int64)


@cache
def compiled_sharing() -> Callable[..., None]:
    return entry_point(share_out_often, "often_in_a_test", *[types.int64] * 5)


def counted(whose: int, parts: int, times: int) -> list[int]:
    counts = np.zeros(MOST, np.int64)
    compiled_sharing()(whose, compiled_count(), counts.ctypes.data, parts, times)
    return [int(count) for count in counts if count]


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A team of four, however few processors there are."""
    four = team._Team(3)
    monkeypatch.setattr(team, "_team", lambda: four)
    yield four
    four.end()


@pytest.mark.parametrize("parts", [1, 2, 3, 7, MOST])
def test_every_part_is_done_once(parts: int, helpers: Any) -> None:
    with team.helped(4, team.WORTH_WAKING) as whose:
        assert whose == helpers.address
        assert counted(whose, parts, 3000) == [3000] * parts
    assert counted(team.NOBODY, parts, 10) == [10] * parts


def test_helpers_that_sleep_are_done_without(helpers: Any) -> None:
    with team.helped(4, 1) as whose:  # too short to wake anybody
        assert [helpers._numbers[each._asleep // 8] for each in helpers.helpers] == [1, 1, 1]
        assert counted(whose, 5, 100) == [100] * 5


def test_a_helper_sleeps_where_there_is_nothing_to_do_and_wakes_again(helpers: Any) -> None:
    first = helpers.helpers[0]
    for _ in range(3):
        with team.helped(4, team.WORTH_WAKING) as whose:
            counted(whose, 3, 100)
        for _ in range(2000):
            if helpers._numbers[first._asleep // 8] == 1:
                break
            threading.Event().wait(0.01)
        assert helpers._numbers[first._asleep // 8] == 1


def test_computations_that_follow_each_other_have_help(helpers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now, woken = [1000.0], []
    monkeypatch.setattr(team, "perf_counter", lambda: now[0])
    for number, helper in enumerate(helpers.helpers):
        monkeypatch.setattr(helper, "wake", lambda number=number: woken.append(number))
    for seconds, expected in ((0.0, []), (0.5 * team.SOON, [0, 1]), (2.0 * team.SOON, [])):
        now[0] += seconds
        with team.helped(3, 1) as whose:
            assert counted(whose, 3, 1) == [1, 1, 1]
        assert woken == expected  # as many as there are parts for beside this thread's
        woken.clear()
    monkeypatch.undo()


def test_who_finds_the_team_taken_computes_alone(helpers: Any) -> None:
    with team.helped(4, team.WORTH_WAKING) as whose, team.helped(4, team.WORTH_WAKING) as other:
        assert (whose, other) == (helpers.address, team.NOBODY)
    with team.helped(4, team.WORTH_WAKING) as again:
        assert again == helpers.address


def test_several_threads_at_once(helpers: Any) -> None:
    results: list[list[int]] = []

    def compute() -> None:
        for _ in range(20):
            with team.helped(4, team.WORTH_WAKING) as whose:
                results.append(counted(whose, 9, 100))

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[100] * 9] * 80


def test_helpers_that_are_late_too_often_are_not_asked_for_a_while(
    helpers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others compute on this machine too: the parts are the same, and this thread does them."""
    now = [1000.0]
    monkeypatch.setattr(team, "perf_counter", lambda: now[0])
    numbers, delays = helpers._numbers, team.DELAYS // 8
    numbers[delays] = team.MOST_DELAYS
    with team.helped(4, team.WORTH_WAKING) as whose:
        assert whose == helpers.address
        assert counted(whose, 3, 100) == [100] * 3
    assert numbers[delays] < team.MOST_DELAYS  # computations without one weigh against it
    numbers[delays] = team.MOST_DELAYS + 1
    for now[0] in (1000.0, 1000.0 + 0.9 * team.SECONDS_ALONE):
        with team.helped(4, team.WORTH_WAKING) as whose:
            assert whose == team.NOBODY
    now[0] = 1000.0 + 1.1 * team.SECONDS_ALONE
    with team.helped(4, team.WORTH_WAKING) as whose:
        assert whose == helpers.address
    assert numbers[delays] == 0


def wait_here(whose: int, parts: int) -> None:
    times = np.empty(2, np.int64)
    team.wait_for_others(whose, parts, team.nanoseconds(whose, times), times)


def test_a_wait_that_is_much_longer_than_the_own_part_counts_as_a_delay(helpers: Any) -> None:
    """Here the other part is done after a twentieth of a second, and then before anybody waits."""
    waiting = entry_point(wait_here, "wait_in_a_test", types.int64, types.int64)
    numbers, done, delays = helpers._numbers, team.DONE // 8, team.DELAYS // 8

    def come_late() -> None:
        threading.Event().wait(0.05)
        numbers[done] = 2

    numbers[done] = 1
    late = threading.Thread(target=come_late)
    late.start()
    waiting(helpers.address, 2)
    late.join()
    assert numbers[delays] == team.DELAY_WEIGHS
    waiting(helpers.address, 2)
    assert numbers[delays] == team.DELAY_WEIGHS - 1


def test_one_part_and_one_processor_need_no_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "processors", lambda: 1)
    assert team._team.__wrapped__() is None
    monkeypatch.setattr(team, "_team", lambda: None)
    with team.helped(4, team.WORTH_WAKING) as whose:
        assert whose == team.NOBODY
    monkeypatch.setattr(team, "_team", lambda: pytest.fail("asked for a team"))
    with team.helped(1, team.WORTH_WAKING) as whose:
        assert whose == team.NOBODY


def test_numbers_that_threads_tell_each_other() -> None:
    number = np.array([5, 7])

    def change(address: int, results: Any) -> None:
        found = carray(results, 4)
        found[0] = load_at(address)
        add_at(address, 3)
        found[1] = exchanged_at(address, 5, 1)
        found[2] = exchanged_at(address, 8, 2)
        found[3] = load_at(address)
        store_at(address + 8, 9)

    results = np.zeros(4, np.int64)
    entry = address_of(change, "atomics_of_a_test", types.int64, pointer_to("int64"))
    callable_at(entry, c_int64, c_int64)(number.ctypes.data, results.ctypes.data)
    assert results.tolist() == [5, 0, 1, 2]
    assert number.tolist() == [2, 9]


FORKING = """
import os, signal, sys
import numpy as np, gpu_mlp
from gpu_mlp.backends.compiled import team
from gpu_mlp.learning.steps import compiled
compiled.step_parts = lambda layout, rows: 2
team.processors = lambda: 3
def train():
    network = gpu_mlp.Network((64, 128, 10), seed=1, device="cpu")
    step = gpu_mlp.TrainingStep(network, loss="squared_error", batch_size=128)
    x, y = np.ones((128, 64)), np.zeros((128, 10))
    for _ in range(50):
        step(x, y)
    return network.parameters.flat.tobytes()
expected = train()
if os.fork() == 0:
    signal.alarm(60)  # a team without its threads would wait for ever
    os._exit(int(train() != expected))
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
print(len(team._team().helpers))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_gets_a_team_of_its_own_and_every_process_ends() -> None:
    """In a fresh process, since forking the tests' own is not safe."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
