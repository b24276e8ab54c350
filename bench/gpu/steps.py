"""The stage `steps`: gpu_mlp's step against PyTorch's and JAX's, problem after problem, in rounds that alternate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Protocol

import numpy as np
from contest import LOSS_TOLERANCE, first_difference, interval

from gpu.budget import Budget
from gpu.contestants import CONTESTANTS, Entry
from gpu.notes import Notes
from gpu.players import Player, PlayerError
from gpu.problems import PROBLEMS, Problem

__all__ = ["Asked", "compare", "goals_of", "measure", "play", "prepare_all", "ratio_row"]

SECONDS_A_BLOCK = 0.03
MOST_ROUNDS, FEWEST_ROUNDS = 11, 5
# What one problem may take: to get ready, and to be timed.
PREPARING, TIMING = 75.0, 20.0
# Left at the end, for the last answers.
SLACK = 3.0
# Less time than this is not worth a problem's begin.
SHORTEST = 15.0
# So often in a row a contestant may fail to get ready before it is not asked any more.
STRIKES = 3


class Asked(Protocol):
    """A player, or what stands in for one in a test."""

    entry: Entry
    left: float
    strikes: int

    def ask(self, **request: Any) -> None: ...

    def answer(self, seconds: float) -> dict[str, Any]: ...

    def close(self) -> None: ...


def measure(notes: Notes, device: str = "cuda", problems: Sequence[Problem] = PROBLEMS) -> None:
    """All problems that there is time for."""
    players: list[Asked] = []
    for entry in CONTESTANTS:
        if entry.missing:
            notes.append("absent", {"contestant": entry.name, "why": entry.missing})
            notes.say(f"{entry.name}: {entry.missing}")
        else:
            players.append(Player(entry, device))
    try:
        for number, problem in enumerate(problems):
            if notes.budget.left() < SHORTEST:
                notes.append("skipped", f"{problem.name}: no time left")
                continue
            with notes.failures(problem.name):
                play(notes, players, number, problem)
    finally:
        for player in players:
            player.close()


def play(notes: Notes, players: Sequence[Asked], number: int, problem: Problem) -> None:
    """One problem: everybody gets ready, losses are compared, and who computes the same is timed."""
    row: dict[str, Any] = {
        "problem": problem.name,
        "sizes": list(problem.sizes),
        "batch": problem.batch,
        "precision": problem.precision,
        "flops": problem.flops,
        "learning_rate": problem.learning_rate,
        "gemm_share_wanted": problem.gemm_share,
    }
    ready, answers, troubles = prepare_all(notes, players, number, problem)
    losses = {player.entry.name: answers[player.entry.name]["losses"] for player in ready}
    against, differing = compare(losses, problem.loss_tolerance)
    troubles |= differing
    timed = [player for player in ready if player.entry.name not in differing]
    row |= {
        "losses_compared_with": against,
        "loss_tolerance": problem.loss_tolerance,
        "prepared": {name: _without_losses(answer) for name, answer in answers.items()},
        "losses": {name: answer["losses"] for name, answer in answers.items()},
        "not_timed": troubles,
    }
    estimates = {name: answer["estimate"] for name, answer in answers.items()}
    times, lost = time_all(timed, estimates, min(TIMING, notes.budget.left() - SLACK))
    troubles |= lost
    row |= {"seconds": {name: median(each) for name, each in times.items() if each}}
    forms = {player.entry.name: player.entry.form for player in players}
    row |= {"rounds": min((len(each) for each in times.values()), default=0), "times": times}
    row |= goals_of(problem, times, forms)
    notes.append("problems", row)
    shown = ", ".join(f"{name} {seconds * 1e6:.1f}" for name, seconds in row["seconds"].items())
    notes.say(f"{problem.name}: us a step: {shown}")
    for name, why in troubles.items():
        notes.say(f"    {name}: {why[:200]}")


def _without_losses(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "losses" and value != []}


def prepare_all(
    notes: Notes, players: Sequence[Asked], number: int, problem: Problem
) -> tuple[list[Asked], dict[str, dict[str, Any]], dict[str, str]]:
    """Who is ready with what answer, and why the others are not; all together, or tuners each alone where the problem
    says so."""
    ready: list[Asked] = []
    answers: dict[str, dict[str, Any]] = {}
    troubles: dict[str, str] = {}
    most = min(PREPARING, notes.budget.left() - SLACK - FEWEST_ROUNDS)
    deadline = notes.budget.left() - most
    groups = groups_of(players, problem)
    share = most / min(len(groups), 2)
    for group in groups:
        asked: list[Asked] = []
        before = notes.budget.left()
        for player in group:
            name = player.entry.name
            if player.left < 1.0:
                troubles[name] = f"its {player.entry.seconds:.0f} s to get ready are used up"
                continue
            if player.strikes >= STRIKES:
                troubles[name] = f"it failed {STRIKES} times before"
                continue
            try:
                player.ask(do="prepare", problem=number)
                asked.append(player)
            except PlayerError as error:
                troubles[name] = str(error)
        for player in asked:
            waited = before - notes.budget.left()
            limit = min(player.left - waited, notes.budget.left() - deadline, share)
            try:
                answer = player.answer(limit)
                answers[player.entry.name] = answer
                player.left -= answer["seconds"]
                player.strikes = 0
                ready.append(player)
            except PlayerError as error:
                player.left -= before - notes.budget.left()
                player.strikes += 1
                troubles[player.entry.name] = str(error)
    return ready, answers, troubles


def groups_of(players: Sequence[Asked], problem: Problem) -> list[list[Asked]]:
    """Who gets ready at the same time as whom."""
    if not problem.alone:
        return [list(players)]
    together = [player for player in players if not player.entry.tunes]
    return [together, *([player] for player in players if player.entry.tunes)]


def compare(
    losses: dict[str, Sequence[float]], tolerance: float = LOSS_TOLERANCE
) -> tuple[str | None, dict[str, str]]:
    """With whom all are compared, and who has other losses: with the first that is not gpu_mlp, in their order."""
    others = [name for name in losses if not name.startswith("gpu_mlp")]
    if not losses:
        return None, {}
    against = (others or list(losses))[0]
    differing = {}
    for name, own in losses.items():
        step = first_difference(own, losses[against], tolerance)
        if step is not None:
            differing[name] = (
                f"its loss at step {step} is {own[step - 1]:.7g}, that of {against} is "
                f"{losses[against][step - 1]:.7g}: more than {tolerance} apart, so the work differs"
            )
    return against, differing


def time_all(
    players: Sequence[Asked], estimates: dict[str, float], seconds: float
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds a step of every player in every round, in turn; and who was lost on the way.

    There are fewer rounds than usual where the time is short, but never fewer than a median with an interval needs.
    How many steps make a block is reckoned from the block before.
    """
    lost: dict[str, str] = {}
    times: dict[str, list[float]] = {player.entry.name: [] for player in players}
    latest = dict(estimates)  # that were made while others were at work
    budget = Budget(seconds)
    for done in range(MOST_ROUNDS):
        if (done >= FEWEST_ROUNDS and budget.left() == 0.0) or len(lost) == len(players):
            break
        for player in players:
            name = player.entry.name
            if name in lost:
                continue
            try:
                player.ask(do="block", steps=max(1, round(SECONDS_A_BLOCK / latest[name])))
                latest[name] = player.answer(max(seconds, 5.0))["seconds"]
                times[name].append(latest[name])
            except PlayerError as error:
                lost[name] = f"while it was timed: {error}"
    return {name: each for name, each in times.items() if name not in lost}, lost


def ratio_row(own: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """How many times as long the other takes: the median over the rounds with its interval."""
    ratios = np.array(other) / np.array(own)
    low, high = interval(ratios)
    return {"ratio": float(np.median(ratios)), "low": low, "high": high}


def goals_of(problem: Problem, times: dict[str, list[float]], forms: Mapping[str, str]) -> dict[str, Any]:
    """All ratios of all forms of gpu_mlp, and for its fastest one what was promised and whether it is met."""
    means = {name: median(each) for name, each in times.items() if each}
    own = sorted((name for name in means if forms[name] == "own"), key=means.__getitem__)
    others = [name for name in means if not name.startswith("gpu_mlp")]
    ratios = [
        {"own": name, "other": other, **ratio_row(times[name], times[other])}
        for name in means
        if name.startswith("gpu_mlp")
        for other in others
    ]
    goals = []
    for goal in problem.goals:
        needed = "eager" if goal.against == "eager" else "other"
        rivals = [name for name in others if goal.against == "best" or forms[name] == "eager"]
        rivals.sort(key=means.__getitem__)
        what = {"goal": f"{goal.ratio:g}x {goal.against}", "wanted": goal.ratio}
        if not own or needed not in {forms[name] for name in rivals}:
            goals.append(what | {"met": None, "why": "there is nobody to compare"})
            continue
        row = ratio_row(times[own[0]], times[rivals[0]])
        goals.append(what | {"own": own[0], "other": rivals[0], **row, "met": row["ratio"] >= goal.ratio})
    return {"ratios": ratios, "goals": goals}
