"""One contestant in a process of its own, told by lines of JSON what to do: a crash or a hang costs nobody else.

    {"do": "prepare", "problem": number}   -> {"losses": [...], "estimate": s, "seconds": s, "warnings": [...]}
    {"do": "block", "steps": n}            -> {"seconds": s of a step}

An answer with "failed" in it says that it could not be done.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from contest import COMPARED_STEPS

from gpu.contestants import Contestant
from gpu.notes import reason
from gpu.problems import PROBLEMS, Problem

__all__ = ["Room", "serve"]

UNCOUNTED_STEPS = 3
# Seconds: a step that is estimated once more over more of them, and a call that is no warm-up for another.
SHORT, LONG = 2e-3, 0.1


class Room(logging.Handler):
    """A contestant's place: at most one prepared problem, and what gpu_mlp logged meanwhile."""

    def __init__(
        self,
        make: Callable[[], Callable[[Problem, str], Contestant]],
        device: str,
        problems: Sequence[Problem] = PROBLEMS,
    ) -> None:
        super().__init__(logging.WARNING)
        self._make, self._device, self._problems = make, device, problems
        self._contestant: Contestant | None = None
        self._estimate = 0.0
        self._warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """A warning, such as that a step could not be captured."""
        self._warnings.append(record.getMessage())

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        try:
            if request["do"] == "prepare":
                return self._prepare(self._problems[request["problem"]])
            return self._block(request["steps"])
        except Exception as error:  # whatever a library throws
            return reason(error)

    def _prepare(self, problem: Problem) -> dict[str, Any]:
        """Make the contestant anew and let it show its losses."""
        self._contestant, self._warnings = None, []
        gc.collect()
        started = time.perf_counter()
        contestant = self._make()(problem, self._device)
        contestant.prepare()
        losses = contestant.losses(COMPARED_STEPS)
        estimate = _seconds_a_step(contestant, UNCOUNTED_STEPS)
        if estimate < SHORT:
            estimate = _seconds_a_step(contestant, 20)
        self._contestant, self._estimate = contestant, estimate
        return {
            "losses": losses,
            "estimate": estimate,
            "seconds": time.perf_counter() - started,
            "warnings": list(self._warnings),
        }

    def _block(self, steps: int) -> dict[str, Any]:
        """The mean over a block of steps, after a few that do not count."""
        contestant = self._contestant
        assert contestant is not None, "nothing is prepared"
        if contestant.steps_a_call * self._estimate < LONG:
            contestant.run(UNCOUNTED_STEPS)
        return {"seconds": _seconds_a_step(contestant, steps)}


def _seconds_a_step(contestant: Contestant, steps: int) -> float:
    """The mean over about so many steps, whole calls of them."""
    calls = max(1, round(steps / contestant.steps_a_call))
    started = time.perf_counter()
    contestant.run(calls * contestant.steps_a_call)
    return (time.perf_counter() - started) / (calls * contestant.steps_a_call)


def serve(make: Callable[[], Callable[[Problem, str], Contestant]], device: str) -> None:
    """Answer on what is stdout now until stdin ends; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    room = Room(make, device)
    logging.getLogger("gpu_mlp").addHandler(room)
    _loop(room, sys.stdin, out)


def _loop(room: Room, requests: TextIO, answers: TextIO) -> None:
    for line in requests:
        answers.write(json.dumps(room.answer(json.loads(line))) + "\n")
        answers.flush()
