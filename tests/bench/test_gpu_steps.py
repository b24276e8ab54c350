"""Contestants on the CPU, who is ready, whose losses agree, and what is promised and met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contest import first_difference, interval
from gpu import steps
from gpu.contestants import CONTESTANTS, Entry, entry_of
from gpu.notes import Notes
from gpu.players import Player, PlayerError
from gpu.problems import PROBLEMS, Goal, Problem
from gpu.steps import compare, goals_of, play, prepare_all, ratio_row, time_all
from gpu.worker import Room

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import PRECISION_NAMES
from gpu_mlp.errors import DeviceError
from tests.backends.emulated import emulated_ops

TINY = Problem((3, 5, 4), 8, (Goal("eager", 5.0), Goal("best", 2.0)), learning_rate=0.01)
SQUARE = Problem((3, 5, 1), 8, learning_rate=0.01)
STRICT = [TINY, SQUARE, replace(TINY, precision="float64")]


def losses_of(name: str, problem: Problem, device: str = "cpu") -> list[float]:
    room = Room(entry_of(name).make, device, [problem])
    answer = room.answer({"do": "prepare", "problem": 0})
    assert "failed" not in answer, answer
    assert answer["seconds"] > 0
    assert answer["estimate"] > 0
    block = room.answer({"do": "block", "steps": 5})
    assert block["seconds"] > 0
    losses: list[float] = answer["losses"]
    return losses


@pytest.mark.parametrize("problem", STRICT, ids=lambda p: p.name)
def test_gpu_mlp_and_torch_compute_the_same(problem: Problem) -> None:
    pytest.importorskip("torch")
    expected = losses_of("torch eager", problem)
    assert len(expected) == 20
    assert expected[-1] < expected[0]
    for name in ("gpu_mlp step", "gpu_mlp run_steps", "gpu_mlp plain", "torch eager fused"):
        assert first_difference(losses_of(name, problem), expected, 1e-5) is None, name


@pytest.mark.parametrize("name", ["jax jit", "jax scan"])
@pytest.mark.parametrize("problem", STRICT, ids=lambda p: p.name)
def test_jax_computes_the_same(name: str, problem: Problem) -> None:
    pytest.importorskip("jax")
    expected = losses_of("gpu_mlp step", problem)
    assert first_difference(losses_of(name, problem), expected, 1e-5) is None


@pytest.mark.parametrize("name", ["gpu_mlp step", "gpu_mlp run_steps", "gpu_mlp plain"])
def test_gpu_mlp_on_the_emulated_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured, started anew, and compared: as on a GPU."""
    try:
        ops = emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: ops)
    monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)
    expected = losses_of("gpu_mlp plain", TINY)
    assert first_difference(losses_of(name, TINY, "cuda"), expected, 1e-5) is None


def test_flops_are_three_products_a_layer_and_no_gradient_of_the_input() -> None:
    assert Problem((2, 3, 5), 7).flops == 2 * 7 * (2 * 2 * 3 + 3 * 3 * 5)


def test_the_goals_are_those_that_were_set() -> None:
    of_small = ((2, 4, 7, 3, 2), (64, 128, 64, 10), (28, 300, 300, 300, 1))
    small = [p for p in PROBLEMS if p.sizes in of_small and p.precision == "float32"]
    assert sorted(p.batch for p in small) == sorted([64, 256, 1024] * 3)
    assert all(p.goals == (Goal("eager", 5.0), Goal("best", 2.0)) for p in small)
    wide = [p for p in PROBLEMS if p.sizes == (784, 4096, 4096, 4096, 10)]
    assert {p.batch for p in wide} == {8192}
    assert all(p.gemm_share == 0.85 and p.goals == (Goal("best", 1.0),) for p in wide)
    assert sorted(p.precision for p in wide) == sorted(PRECISION_NAMES)
    others = {(p.sizes, p.batch, p.precision) for p in PROBLEMS if not p.goals}
    middling, narrow = (784, 512, 512, 10), (64, 128, 64, 10)
    assert others == {
        (middling, 128, "float32"),
        *((middling, 8192, precision) for precision in ("float32", "bf16", "tf32")),
        *((narrow, 1024, precision) for precision in ("bf16", "tf32")),
    }


def test_what_alone_shows_that_a_promise_is_kept_comes_first() -> None:
    """Wherever the time ends, no row was measured whose network and precision had their turn before another's first."""
    promised = {(p.sizes, p.precision) for p in PROBLEMS if p.goals}
    first = [(p.sizes, p.precision) for p in PROBLEMS[: len(promised) + 3]]
    assert set(first) == promised


def test_the_first_difference_is_found_and_nan_is_one() -> None:
    assert first_difference([1.0, 2.0], [1.0, 2.00001]) is None
    assert first_difference([1.0, 2.0], [1.0, 2.1]) == 2
    assert first_difference([float("nan")], [float("nan")]) == 1
    assert first_difference([1.0], [float("inf")]) == 1


def test_who_has_other_losses_is_named_beside_whom() -> None:
    against, differing = compare(
        {"gpu_mlp step": [1.0, 2.0], "torch eager": [1.0, 2.0], "jax jit": [1.0, 2.5]}
    )
    assert against == "torch eager"
    assert list(differing) == ["jax jit"]
    assert "its loss at step 2 is 2.5, that of torch eager is 2" in differing["jax jit"]
    assert compare({"gpu_mlp step": [1.0]}) == ("gpu_mlp step", {})
    assert compare({}) == (None, {})
    _, differing = compare({"torch eager": [1.0, 2.0], "jax jit": [1.0, 2.004]}, 1e-3)
    assert "more than 0.001 apart" in differing["jax jit"]
    assert compare({"torch eager": [1.0, 2.0], "jax jit": [1.0, 2.004]}, 5e-3) == ("torch eager", {})


def times_of(**seconds: float) -> dict[str, list[float]]:
    """Seven rounds of each; `own_` and `_` stand for what no keyword can be."""
    names = {"own_step": "gpu_mlp step", "own_run_steps": "gpu_mlp run_steps", "own_plain": "gpu_mlp plain"}
    return {names.get(name, name.replace("_", " ")): [value] * 7 for name, value in seconds.items()}


FORMS = {entry.name: entry.form for entry in CONTESTANTS}


def test_a_goal_is_met_by_the_fastest_own_form_against_the_fastest_rival() -> None:
    times = times_of(
        own_step=2.0, own_run_steps=1.0, own_plain=0.5, torch_eager=9.0, torch_eager_fused=6.0
    ) | times_of(torch_graph=1.5, jax_scan=3.0)
    found = goals_of(TINY, times, FORMS)
    eager, best = found["goals"]
    assert (eager["own"], eager["other"], eager["ratio"], eager["met"]) == (
        "gpu_mlp run_steps",
        "torch eager fused",
        6.0,
        True,
    )
    assert (best["other"], best["ratio"], best["met"]) == ("torch graph", 1.5, False)
    assert len(found["ratios"]) == 3 * 4


def test_a_goal_without_a_rival_is_neither_met_nor_missed() -> None:
    eager, best = goals_of(TINY, times_of(own_step=1.0, torch_eager=9.0), FORMS)["goals"]
    assert eager["met"] is True
    assert best["met"] is None
    assert all(goal["met"] is None for goal in goals_of(TINY, times_of(torch_graph=1.0), FORMS)["goals"])


def test_ratios_are_of_pairs_with_an_interval_around_the_median() -> None:
    row = ratio_row([1.0, 2.0, 4.0], [3.0, 6.0, 8.0])
    assert row["ratio"] == 3.0
    assert row["low"] <= 3.0 <= row["high"]
    assert interval(np.array([2.0, 2.0, 2.0])) == (2.0, 2.0)


class Fake:
    """A player that answers what it was given."""

    def __init__(self, name: str, *, losses: Any = None, fails: str = "", seconds: float = 1e-3) -> None:
        self.entry = entry_of(name)
        self.steps: list[int] = []
        self.left = self.entry.seconds
        self.strikes = 0
        self.asked: list[str] = []
        self._losses = losses or [1.0] * 20
        self._fails, self._seconds = fails, seconds

    def ask(self, **request: Any) -> None:
        self.asked.append(request["do"])
        self.steps += [request["steps"]] if "steps" in request else []

    def answer(self, seconds: float) -> dict[str, Any]:
        if self.asked[-1] in self._fails:
            raise PlayerError("gone")
        if self.asked[-1] == "prepare":
            return {"losses": self._losses, "estimate": self._seconds, "seconds": 5.0, "warnings": []}
        return {"seconds": self._seconds}

    def close(self) -> None:
        pass


def quiet_notes(seconds: float = 100) -> Notes:
    return Notes(None, seconds, lambda line: None)


def test_what_differs_or_is_lost_is_reported_and_not_timed() -> None:
    players = [
        Fake("gpu_mlp step", seconds=1e-3),
        Fake("torch eager", seconds=6e-3),
        Fake("torch graph", fails="block"),
        Fake("jax jit", losses=[2.0] * 20),
        Fake("jax scan", fails="prepare"),
    ]
    notes = quiet_notes()
    play(notes, players, 0, TINY)
    (row,) = notes.results["problems"]
    assert row["seconds"] == {"gpu_mlp step": 1e-3, "torch eager": 6e-3}
    assert set(row["not_timed"]) == {"torch graph", "jax jit", "jax scan"}
    assert "block" not in players[3].asked
    assert row["losses"]["jax jit"][0] == 2.0
    assert [goal["met"] for goal in row["goals"]] == [True, None]
    assert row["rounds"] == steps.MOST_ROUNDS
    assert players[0].left == players[0].entry.seconds - 5.0
    assert players[4].strikes == 1


@pytest.mark.parametrize("alone", [False, True])
def test_who_has_no_time_left_or_failed_too_often_is_not_asked(alone: bool) -> None:
    spent, struck, fine = Fake("torch max-autotune"), Fake("jax jit"), Fake("gpu_mlp step")
    spent.left, struck.strikes = 0.5, steps.STRIKES
    ready, _, troubles = prepare_all(quiet_notes(), [spent, struck, fine], 0, replace(TINY, alone=alone))
    assert ready == [fine]
    assert not spent.asked
    assert not struck.asked
    assert "used up" in troubles["torch max-autotune"]
    assert "it failed 3 times" in troubles["jax jit"]


def test_short_time_gives_fewer_rounds_but_never_too_few() -> None:
    times, lost = time_all([Fake("gpu_mlp step")], {"gpu_mlp step": 1e-3}, 0.0)
    assert len(times["gpu_mlp step"]) == steps.FEWEST_ROUNDS
    assert lost == {}


def test_blocks_are_as_long_as_the_last_one_says() -> None:
    player = Fake("gpu_mlp step", seconds=1e-3)
    time_all([player], {"gpu_mlp step": 3e-2}, 10.0)
    assert player.steps == [1] + [30] * (steps.MOST_ROUNDS - 1)


def test_those_that_time_their_products_get_ready_alone() -> None:
    names = ["gpu_mlp step", "torch eager", "jax jit", "torch reduce-overhead", "torch max-autotune"]
    players = [Fake(name) for name in names]
    assert steps.groups_of(players, TINY) == [players]
    groups = steps.groups_of(players, replace(TINY, alone=True))
    shown = [[player.entry.name for player in group] for group in groups]
    assert shown == [
        ["gpu_mlp step", "torch eager", "torch reduce-overhead"],
        ["jax jit"],
        ["torch max-autotune"],
    ]


def test_without_time_problems_are_skipped_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CONTESTANTS", ())
    notes = quiet_notes(0)
    steps.measure(notes, "cpu", [TINY])
    assert notes.results["skipped"] == [f"{TINY.name}: no time left"]


def test_who_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Callable[..., Any]:
        raise AssertionError("never made")

    absent = Entry("theirs", "no_such_library", "other", 1.0, make)
    monkeypatch.setattr(steps, "CONTESTANTS", (absent,))
    notes = quiet_notes()
    steps.measure(notes, "cpu", [])
    assert notes.results["absent"] == [{"contestant": "theirs", "why": "no_such_library is not installed"}]


def test_a_player_is_a_process_that_is_told_what_to_do() -> None:
    player = Player(entry_of("gpu_mlp step"), "cpu")
    try:
        number = next(i for i, problem in enumerate(PROBLEMS) if problem.sizes == (2, 4, 7, 3, 2))
        player.ask(do="prepare", problem=number)
        answer = player.answer(60)
        assert len(answer["losses"]) == 20
        player.ask(do="block", steps=3)
        assert player.answer(60)["seconds"] > 0
        player.ask(do="prepare", problem=10**6)
        with pytest.raises(PlayerError, match="IndexError"):
            player.answer(60)
        player.ask(do="block", steps=3)  # a new process, in which nothing is prepared
        with pytest.raises(PlayerError, match="nothing is prepared"):
            player.answer(60)
    finally:
        player.close()


def test_a_player_that_is_late_or_gone_says_so() -> None:
    late = Player(entry_of("gpu_mlp step"), "cpu")
    late.ask(do="prepare", problem=0)
    with pytest.raises(PlayerError, match="no answer within"):
        late.answer(0.0)
    gone = Player(replace(entry_of("gpu_mlp step"), name="nobody"), "cpu")
    gone.ask(do="prepare", problem=0)
    with pytest.raises(PlayerError, match=r"its process ended \(1\)[\s\S]*ValueError"):
        gone.answer(60)
