"""Which stage gets how long, and what is kept of one that fails, hangs or dies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from gpu import stages
from gpu.budget import Budget, Share, limit_of
from gpu.command import Document, parse, whole
from gpu.notes import Notes, read_json, write_json
from gpu.stages import STAGES, Stage, run_stage, run_stages, stages_named


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stage_gets_its_most_as_far_as_the_least_of_later_ones_leaves_it() -> None:
    later = [Share(90, 30), Share(1e9, 100)]
    assert limit_of(Share(60, 10), later, 480) == 60
    assert limit_of(Share(60, 10), later, 150) == 20
    assert limit_of(Share(60, 10), later, 100) == 0
    assert limit_of(Share(1e9, 100), [], 77) == 77


def test_a_budget_runs_out_and_stays_at_nothing() -> None:
    clock = Clock()
    budget = Budget(10, clock)
    clock.now += 4
    assert budget.left() == 6
    clock.now += 40
    assert budget.left() == 0


def test_all_stages_fit_into_eight_minutes_and_the_last_gets_two_of_them() -> None:
    before = sum(stage.share.most for stage in STAGES[:-1])
    assert sum(stage.share.least for stage in STAGES) < 480
    assert before < 480
    assert STAGES[-1].share.least >= 120


def test_a_failure_and_a_lack_of_time_are_recorded_and_the_rest_goes_on() -> None:
    clock, kept = Clock(), {}
    budget = Budget(480, clock)

    def run(stage: Stage, limit: float, keep: Any) -> dict[str, Any]:
        if stage.name == "tests":
            raise RuntimeError("broken")
        clock.now += 500 if stage.name == "profile" else 1
        return {"status": "done", "results": {"limit": limit}}

    run_stages(STAGES, 8, run, kept.__setitem__, budget)
    assert list(kept) == [stage.name for stage in STAGES]
    assert kept["tests"]["status"] == "failed"
    assert kept["tests"]["results"]["error"]["failed"] == "RuntimeError: broken"
    assert kept["ceilings"]["status"] == "done"
    assert [kept[name]["status"] for name in ("sanitizer", "steps")] == ["skipped"] * 2


SCRIPTS = {
    "hangs": "import time; write({'a': 1}); time.sleep(60)",
    "dies": "write({'a': 1}); import os; os._exit(9)",
    "ends": "write({'a': 1})",
}
EXPECTED = {"hangs": "timed out", "dies": "failed", "ends": "done"}


@pytest.mark.parametrize("how", SCRIPTS)
def test_what_a_process_found_is_kept_however_it_ends(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = "import json, sys\ndef write(d): open(sys.argv[4], 'w').write(json.dumps(d))\n"
    command = [sys.executable, "-c", prepare + SCRIPTS[how]]
    monkeypatch.setattr(stages, "entry_point", lambda: command)
    monkeypatch.setattr(stages, "POLL_SECONDS", 0.1)
    seen: list[dict[str, Any]] = []
    limit = 1.5 if how == "hangs" else 30.0
    record = run_stage(STAGES[0], limit, tmp_path, seen.append)
    assert record["status"] == EXPECTED[how]
    assert record["results"]["a"] == 1
    if how == "hangs":  # what there was so far was passed on before the end
        assert seen[-1]["results"] == {"a": 1}
    if how == "dies":
        assert record["results"]["error"] == {"failed": "its process ended with 9"}


def test_without_a_gpu_the_whole_ends_with_its_reasons(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = whole(parse(["--stages", "ceilings", "--results", str(tmp_path), "--commit", "of this"]))
    (path,) = tmp_path.iterdir()
    document = json.loads(path.read_text())
    assert document["commit"] == "of this"
    assert set(document["stages"]) == {"device", "ceilings"}
    if document["gpu"] == "unknown GPU":
        assert code == 1
        assert path.name.startswith("unknown-gpu-")
        assert "failed" in document["stages"]["ceilings"]["results"]["error"]
        assert "not in order: ceilings: failed" in capfd.readouterr().out


def test_the_results_file_is_named_after_the_device_and_replaces_no_other(tmp_path: Path) -> None:
    for number in ("", "-2"):
        document = Document(tmp_path, {})
        document.keep("tests", {"status": "done", "results": {}})
        document.keep("device", {"status": "done", "results": {"name": "NVIDIA H100 80GB HBM3"}})
        document.keep("device", {"status": "done", "results": {"name": "NVIDIA H100 80GB HBM3"}})
        name = document.path.name
        assert name.startswith("nvidia-h100-80gb-hbm3-20")
        assert name[:-5].endswith(number or name[:-5][-2:])
        assert set(json.loads(document.path.read_text())["stages"]) == {"tests", "device"}
    assert len(list(tmp_path.iterdir())) == 2


def test_stages_are_chosen_by_name_and_run_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert [stage.name for stage in stages_named("steps, tests")] == ["device", "tests", "steps"]
    assert stages_named(None) == list(STAGES)
    with pytest.raises(SystemExit):
        parse(["--stages", "kernles"])
    assert "there is no stage kernles; choose of device, tests" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--minutes", "0"])


def test_notes_keep_every_measurement_and_every_failure(tmp_path: Path) -> None:
    path, lines = tmp_path / "notes.json", []
    notes = Notes(path, 10, lines.append)
    notes.put("rate", 1.5)
    with notes.failures("the second"):
        raise MemoryError("out of it")
    notes.append("rows", 1)
    kept = read_json(path)
    assert kept["rate"] == 1.5
    assert kept["rows"] == [1]
    assert kept["failures"][0]["what"] == "the second"
    assert kept["failures"][0]["failed"] == "MemoryError: out of it"
    assert "FAILED the second" in lines[0]
    assert [each.name for each in tmp_path.iterdir()] == ["notes.json"]


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.json"
    write_json(path, {"a": Path("x")})
    assert read_json(path) == {"a": "x"}
    path.write_text("{")
    assert read_json(path) == {}
    assert read_json(tmp_path / "none") == {}
