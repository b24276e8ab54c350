"""The stages that look for mistakes: the suite's outcomes, compute-sanitizer's verdicts, and what a profile counts."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gpu import quiet, sanitizer, suite
from gpu.notes import Notes
from gpu.planted import BUGS
from gpu.precisions import PRECISIONS
from gpu.problems import Precision, Problem
from gpu.sanitizer import find_tool, read_report

TESTS = """
import pytest

def test_of_the_host(): pass
@pytest.mark.parametrize("backend", ["cuda", "cuda-emulated"])
def test_on(backend): pass
def test_that_fails(): assert 1 == 2, "one is not two"
@pytest.mark.skip(reason="no such thing")
def test_skipped(): pass
@pytest.fixture
def broken(): raise ValueError("no fixture")
def test_with_a_broken_fixture(broken): pass
"""


@pytest.mark.parametrize("workers", [[], ["-p", "xdist.plugin", "-n", "1"]], ids=["one process", "xdist"])
def test_outcomes_are_recorded_as_they_come(workers: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_unreadable.py").write_text("import no_such_module_at_all")
    log = tmp_path / "log.jsonl"
    command = suite.pytest_command([*workers, "--continue-on-collection-errors", str(tmp_path)])
    code = suite.run_logged(command, suite.environment(log), tmp_path / "output.txt", 60)
    assert code == 1
    found = suite.count_outcomes(log)
    assert found["counts"] == {"passed": 3, "failed": 1, "skipped": 1, "error": 2}
    assert found["counts_on_the_device"] == {"passed": 1}
    why = {each["test"].rpartition("::")[2] or each["test"]: each["why"] for each in found["failures"]}
    assert "one is not two" in why["test_that_fails"]
    assert "no fixture" in why["test_with_a_broken_fixture"]
    assert any("no_such_module_at_all" in text for text in why.values())
    assert found["skipped"] == {"Skipped: no such thing": 1}
    first = log.read_text().splitlines()
    assert "test_on[cuda]" in next(line for line in first if "passed" in line)


def test_a_suite_that_hangs_is_ended_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(
        "import time\ndef test_quick(): pass\ndef test_slow(): time.sleep(60)\n"
    )
    log = tmp_path / "log.jsonl"
    command = suite.pytest_command([str(tmp_path)])
    assert suite.run_logged(command, suite.environment(log), tmp_path / "output.txt", 5) is None
    assert suite.count_outcomes(log)["counts"] == {"passed": 1}


def test_without_pytest_the_stage_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    notes = Notes(None, 10, lambda line: None)
    suite.measure(notes)
    assert notes.results == {"not_run": "pytest is not installed for this Python"}


def test_gpu_tests_may_not_be_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "kept")
    variables = suite.environment(tmp_path)
    assert variables["GPU_MLP_REQUIRE_GPU"] == "1"
    assert variables["PYTHONPATH"].split(os.pathsep)[-1] == "kept"


MEMCHECK = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at planted+0x70
=========     by thread (200,0,0) in block (0,0,0)
========= ERROR SUMMARY: 56 errors
"""
RACECHECK = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at planted(float *, int)+0x60
=========     and Read access at planted(float *, int)+0xb0 [768 hazards]
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""


def test_reports_are_read() -> None:
    found = read_report(MEMCHECK)
    assert (found["errors"], found["named"]) == (56, {"planted": 1})
    assert "Invalid __global__ write" in found["output"]
    assert read_report(RACECHECK)["errors"] == 1
    clean = read_report("========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n")
    assert (clean["errors"], clean["output"]) == (0, "")
    assert read_report("========= Device not supported\n")["errors"] is None


def fake_tool(folder: Path, *, finds: bool) -> None:
    """Finds every bug of planted.py, or none; and runs the tests, which are one that passes."""
    tool = folder / "compute-sanitizer"
    tool.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"  *planted.py*) echo '========= ERROR SUMMARY: {int(finds)} errors'; exit {77 if finds else 0};;\n"
        '  *) echo \'{"test": "test_a[cuda]", "outcome": "passed"}\' >> "$GPU_MLP_TEST_LOG"\n'
        "     echo '========= ERROR SUMMARY: 0 errors'; exit 0;;\n"
        "esac\n"
    )
    tool.chmod(0o700)


@pytest.mark.parametrize("finds", [True, False])
def test_a_tool_that_finds_no_planted_bug_is_not_trusted(
    finds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tool(tmp_path, finds=finds)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    notes = Notes(None, 60, lambda line: None)
    sanitizer.measure(notes)
    assert notes.results["installed"] is True
    for name in ("memcheck", "racecheck", "initcheck", "synccheck"):
        assert notes.results[f"planted {name}"]["found"] is finds
        assert notes.results[f"kernels {name}"]["clean"] is True
        assert notes.results[f"kernels {name}"]["tests"] == {"passed": 1}


def test_without_the_tool_that_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizer, "find_tool", lambda: None)
    notes = Notes(None, 60, lambda line: None)
    sanitizer.measure(notes)
    assert notes.results == {"installed": False}


def test_the_tool_is_found_in_a_toolkit_that_is_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "compute-sanitizer"
    folder.mkdir()
    fake_tool(folder, finds=True)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert find_tool() == str(folder / "compute-sanitizer")


def test_planted_bugs_have_the_names_of_the_tools() -> None:
    assert set(BUGS) == {"memcheck", "racecheck", "initcheck", "synccheck"}
    assert all("void planted(float* a, int n)" in code for _, code in BUGS.values())


def test_calls_of_the_runtime_are_counted_and_put_back() -> None:
    runtime = SimpleNamespace(malloc=lambda size: size, memcpy=lambda: None)
    before = runtime.malloc
    seen: Counter[str] = Counter()
    with quiet._counted(runtime, ("malloc", "memcpy", "absent"), seen):
        assert runtime.malloc(3) == 3
        runtime.malloc(size=4)
    assert seen == {"malloc": 2}
    assert runtime.malloc is before


class FakeSteps:
    """Steps that ask a memory pool for something."""

    def __init__(self, work: Any) -> None:
        self.network = SimpleNamespace(ops=None)
        self._work = work

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._work()


def test_allocations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Any] = []

    class MemoryHook:
        def __enter__(self) -> None:
            hooks.append(self)

        def __exit__(self, *_: object) -> None:
            hooks.remove(self)

    def work() -> None:
        for hook in hooks:
            hook.malloc_preprocess(device_id=0, size=8, mem_size=512)
        if len(calls) == 0:
            for hook in hooks:
                hook.alloc_preprocess(device_id=0, mem_size=512)
        calls.append(1)

    calls: list[int] = []
    steps = FakeSteps(work)
    steps.network.ops = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(quiet, "_launch", lambda own: own.run(quiet.STEPS))
    cupy = SimpleNamespace(cuda=SimpleNamespace(memory_hook=SimpleNamespace(MemoryHook=MemoryHook)))
    found = quiet.memory_of(cupy, steps)  # type: ignore[arg-type]
    assert found == {"asked_of_the_pool": 100, "asked_of_the_device": 1, "bytes_of_the_device": 512}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_trainings_give_the_same_bits_here(precision: Precision, dropout: float) -> None:
    problem = Problem((3, 8, 2), 32, precision=precision)
    found = quiet.same_bits(problem, "cpu", dropout)
    assert found["same"] is True
    other = replace(problem, precision="float32" if precision != "float32" else "bf16")
    assert quiet.same_bits(problem, "cpu", 0.4)["fingerprints"][0] not in found["fingerprints"]
    assert quiet.same_bits(other, "cpu", dropout)["fingerprints"][0] not in found["fingerprints"]
