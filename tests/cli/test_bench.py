"""`gpu-mlp bench` and `gpu-mlp bench compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_mlp.benchmark import timing
from gpu_mlp.benchmark.timing import Method
from gpu_mlp.cli import bench
from tests.benchmark.results import drawn_result
from tests.cli.commands import done, run

TINY = ("bench", "--problems", "tiny", "--against", "none", "--rounds", "3", "--device", "cpu")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    monkeypatch.setattr(bench, "METHODS", {"quick": Method(9, 0.002), "full": Method(9, 0.002)})


def test_kernels_that_the_environment_chose_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    assert done(*TINY).err.startswith("note: OPENBLAS_CORETYPE=Prescott has chosen")


def test_a_table_is_printed_and_a_file_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    outcome = done(*TINY, "--out", "r.json")
    assert "2-4-7-3-2" in outcome.out
    assert "gpu_mlp" in outcome.out
    assert outcome.err == "written to r.json\n"
    document = json.loads(Path("r.json").read_text())
    assert (document["schema"], document["finished"], document["suite"]) == (1, True, "quick")
    (row,) = document["rows"]
    assert len(row["contestants"]["gpu_mlp"]["seconds"]) == 3


def test_a_result_is_shown_again() -> None:
    first = done(*TINY, "--out", "r.json").out
    outcome = done("bench", "show", "r.json", "--html", "r.html")
    assert outcome.out == first
    assert Path("r.html").read_text().startswith("<!doctype html>")
    refused_again = run("bench", "show", "r.json", "--html", "r.html")
    assert refused_again.code == 2
    assert "--overwrite" in refused_again.err
    assert run("bench", "show", "none.json").code == 2


def test_peers_are_held_against_it() -> None:
    document = done(
        *TINY[:3], "--against", "torch,sklearn", "--rounds", "3", "--device", "cpu", "--json"
    ).document
    (row,) = document["rows"]
    assert list(row["contestants"]) == ["gpu_mlp", "torch"]
    assert row["ratios"]["torch"]["verdict"] in ("faster", "even", "slower")
    assert "one output for two classes" in row["skipped"]["sklearn"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--suite", "slow"), "suite 'slow' is unknown"),
        (("--problems", "tinny"), "problem 'tinny' is unknown; did you mean 'tiny'?"),
        (("--against", "keras"), "peer 'keras' is unknown"),
        (("--rounds", "2"), "rounds is 2, but must be a whole number, at least 3"),
        (("--threads", "0"), "threads is 0, but must be"),
        (("--out", "r.txt"), "--out r.txt ends in '.txt', but must end in .json"),
        (("--out", "none/r.json"), "is in a folder that does not exist"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_measured(flags: tuple[str, ...], says: str) -> None:
    outcome = run("bench", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
    assert list(Path().iterdir()) == []


def test_a_device_that_is_not_there_is_skipped_with_the_reason() -> None:
    outcome = run(*TINY[:-1], "cuda")
    assert outcome.code == 0
    assert "gpu_mlp cuda" in outcome.out


def test_an_interrupted_run_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.run_benchmark

    def interrupted(*arguments: Any) -> Any:
        def report(row: Any) -> None:
            raise KeyboardInterrupt

        return real(*arguments[:-1], report)

    monkeypatch.setattr(bench, "run_benchmark", interrupted)
    outcome = run(*TINY, "--out", "r.json")
    assert outcome.code == 130
    assert "interrupted: the rows above are those measured before" in outcome.out
    document = json.loads(Path("r.json").read_text())
    assert (document["finished"], len(document["rows"])) == (False, 1)


@pytest.mark.parametrize(("slower", "code"), [(1.0, 0), (1.2, 1), (0.7, 0)])
def test_compare_ends_with_1_where_gpu_mlp_became_slower(slower: float, code: int) -> None:
    Path("old.json").write_text(json.dumps(drawn_result(0).document()))
    Path("new.json").write_text(json.dumps(drawn_result(1, slower=slower).document()))
    outcome = run("bench", "compare", "old.json", "new.json")
    assert (outcome.code, outcome.err) == (code, "")
    assert ("slower" in outcome.out) == (code == 1)
    document = json.loads(run("bench", "compare", "old.json", "new.json", "--json").out)
    assert (document["regressions"] > 0) == (code == 1)
    assert len(document["changes"]) == 8


def test_compare_refuses_what_cannot_be_compared() -> None:
    old = drawn_result(0)
    Path("old.json").write_text(json.dumps(old.document()))
    other = drawn_result(1)
    for row in other.rows:
        row["key"] += "x"
    Path("other.json").write_text(json.dumps(other.document()))
    Path("bad.json").write_text("{}")
    for arguments, says in (
        (("old.json", "other.json"), "have no case in common"),
        (("old.json", "bad.json"), "bad.json is no result of gpu-mlp bench"),
        (("none.json", "old.json"), "none.json cannot be read"),
    ):
        outcome = run("bench", "compare", *arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert says in outcome.err


def test_another_machine_is_noted() -> None:
    Path("old.json").write_text(json.dumps(drawn_result(0).document()))
    other = drawn_result(1)
    other.machine["threads"] = 8
    Path("new.json").write_text(json.dumps(other.document()))
    assert run("bench", "compare", "old.json", "new.json").err == "note: threads was 2, and is 8\n"
