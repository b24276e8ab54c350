"""Results that are measured here, held against one another: the same twice is the same, and a slower step is slower."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_mlp.benchmark.cases import PROBLEMS, Case, Data
from gpu_mlp.benchmark.comparison import compare_results
from gpu_mlp.benchmark.contestants import contestants_of
from gpu_mlp.benchmark.contestants.base import Work
from gpu_mlp.benchmark.contestants.own import Own
from gpu_mlp.benchmark.results import Result
from gpu_mlp.benchmark.run import run_benchmark
from gpu_mlp.benchmark.timing import Method

TRIES = 20
CASES = [Case(PROBLEMS[name], batch, "float32", "step") for name, batch in (("tiny", 64), ("small", 128))]
METHOD = Method(9, 0.05)


class Slower(Own):
    """gpu_mlp, with a fifth more steps than are counted."""

    def set_up(self, case: Case, data: Data) -> Any:
        return _More(super().set_up(case, data))


class _More:
    def __init__(self, work: Work) -> None:
        self._work, self.result = work, work.result

    def run(self, count: int) -> float | None:
        return self._work.run(count + round(count / 5))


def measured(own: Own) -> Result:
    _, *peers = contestants_of(("cpu",), ("torch", "jax"))
    return run_benchmark("quick", CASES, [own, *peers], METHOD, 2)


@pytest.mark.soak
def test_the_same_twice_is_no_regression_and_a_fifth_slower_is_one_in_20_of_20_tries() -> None:
    last, flips = measured(Own("cpu")), []
    for _ in range(TRIES):
        now, slower = measured(Own("cpu")), measured(Slower("cpu"))
        assert [change for change in compare_results(last, now) if change.is_regression] == []
        assert [change for change in compare_results(now, slower) if change.is_regression] != []
        for one, other in zip(last.rows, now.rows, strict=True):
            for name, ratio in one["ratios"].items():
                pair = {ratio["verdict"], other["ratios"][name]["verdict"]}
                if pair == {"faster", "slower"}:
                    flips.append((one["key"], name))
        last = now
    assert flips == []
