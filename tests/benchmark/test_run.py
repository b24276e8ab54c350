"""The run as a whole: rows, those who are skipped, and what is left of one that is interrupted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_mlp.benchmark import run, timing
from gpu_mlp.benchmark.cases import PROBLEMS, Case, Data
from gpu_mlp.benchmark.contestants import UnableError
from gpu_mlp.benchmark.contestants.own import Own
from gpu_mlp.benchmark.run import run_benchmark
from gpu_mlp.benchmark.timing import Method

CASES = [Case(PROBLEMS["tiny"], 8, "float32", "step"), Case(PROBLEMS["small"], 8, "float32", "inference")]
METHOD = Method(3, 0.001)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)


class Other(Own):
    """gpu_mlp under another name, which can be missing, unable or wrong."""

    def __init__(self, reason: str = "", unable: str = "", wrong: bool = False) -> None:
        super().__init__("cpu")
        self.name, self._reason, self._unable, self._wrong = "other", reason, unable, wrong

    def missing(self) -> str:
        return self._reason

    def set_up(self, case: Case, data: Data) -> Any:
        if self._unable:
            raise UnableError(self._unable)
        if self._wrong:
            data = Data(data.x, data.y, [2 * omega for omega in data.weights], data.biases)
        return super().set_up(case, data)


def measured(*others: Own, **settings: Any) -> Any:
    return run_benchmark("quick", CASES, [Own("cpu"), *others], METHOD, 1, **settings)


def test_every_case_is_a_row_with_times_and_ratios() -> None:
    heard: list[Any] = []
    result = measured(Other(), report=heard.append)
    assert result.finished
    assert result.rows == heard
    assert [row["key"] for row in result.rows] == [case.key for case in CASES]
    for row in result.rows:
        assert list(row["contestants"]) == ["gpu_mlp", "other"]
        own = row["contestants"]["gpu_mlp"]
        assert len(own["seconds"]) == 3
        assert own["median"] == np.median(own["seconds"])
        assert own["rows_per_second"] == pytest.approx(8 / own["median"])
        assert own["first_seconds"] > 0.0
        assert list(row["ratios"]) == ["other"]
        assert row["skipped"] == {}
    assert result.machine["threads"] == 1
    assert 0.0 < result.method["harness_seconds"] < min(own["median"], 1e-3)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Other(reason="is not installed"), "is not installed"),
        (Other(unable="cannot do that"), "cannot do that"),
        (Other(wrong=True), "computes something else"),
    ],
)
def test_who_is_not_timed_is_named_with_the_reason(other: Other, reason: str) -> None:
    for row in measured(other).rows:
        assert list(row["contestants"]) == ["gpu_mlp"]
        assert row["skipped"]["other"].startswith(reason)


def test_a_case_that_memory_has_no_room_for_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "available_bytes", lambda: 1000)
    for row in measured(Other()).rows:
        assert row["contestants"] == {}
        assert row["skipped"]["gpu_mlp"].startswith("needs 0.0 GB of memory, and 0.0 GB are free")


def test_what_was_measured_before_an_interruption_is_kept() -> None:
    def interrupt(row: Any) -> None:
        raise KeyboardInterrupt

    result = measured(report=interrupt)
    assert not result.finished
    assert [row["key"] for row in result.rows] == [CASES[0].key]


def test_blas_has_its_threads_again() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    before = threads()
    measured()
    assert threads() == before
