"""The stage `sanitizer`: compute-sanitizer's four tools over the kernels' tests, each shown to find a planted bug."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpu.notes import Notes, reason
from gpu.planted import BUGS
from gpu.suite import count_outcomes, environment, pytest_command, run_logged

__all__ = ["find_tool", "measure", "read_report"]

ERROR_CODE = 77
TESTS = ("tests/backends/test_kernels.py", "-k", "cuda and not emulated and not reference")
FOLDERS = ("bin", "compute-sanitizer", "extras/compute-sanitizer")
PLANTED_SECONDS = 60.0

_SUMMARY = re.compile(
    r"(?:ERROR SUMMARY: (\d+) error)|(?:RACECHECK SUMMARY: \d+ hazards? displayed \((\d+) error)"
)
_PLACE = re.compile(r"=========\s+at (.+?)\+0x")


def find_tool() -> str | None:
    """compute-sanitizer on the path, or in a toolkit's folder."""
    found = shutil.which("compute-sanitizer")
    if found:
        return found
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", "/opt/cuda"]
    paths = (Path(home, folder) for home in homes if home for folder in FOLDERS)
    return next((found for path in paths if (found := shutil.which("compute-sanitizer", path=path))), None)


def measure(notes: Notes) -> None:
    """All tools at once: each run is a process that waits for the device most of the time."""
    tool = find_tool()
    notes.put("installed", tool is not None)
    if tool is None:
        notes.say("compute-sanitizer is not installed")
        return
    with ThreadPoolExecutor(2 * len(BUGS)) as pool:
        planted = {name: pool.submit(_guarded, notes, _planted, tool, name) for name in BUGS}
        kernels = {name: pool.submit(_guarded, notes, _kernels, tool, name) for name in BUGS}
        for name in BUGS:
            notes.put(f"planted {name}", planted[name].result())
            notes.say(f"planted, {name}: {_told(notes.results[f'planted {name}'])}")
        for name in BUGS:
            notes.put(f"kernels {name}", kernels[name].result())
            notes.say(f"kernels, {name}: {_told(notes.results[f'kernels {name}'])}")


def _told(found: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in found.items() if key not in ("output", "where"))[:300]


def _guarded(notes: Notes, run: Any, *arguments: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = run(notes, *arguments)
    except Exception as error:  # one run's trouble is no other's
        return dict(reason(error))
    return found


def _command(tool: str, name: str) -> list[str]:
    return [
        tool,
        f"--tool={name}",
        f"--error-exitcode={ERROR_CODE}",
        "--target-processes=all",
        *(["--report-api-errors=no"] if name == "memcheck" else []),
    ]


def _planted(notes: Notes, tool: str, name: str) -> dict[str, Any]:
    """The bug must be found: the run fails with the tool's own exit code."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output.txt")
        command = [*_command(tool, name), sys.executable, str(Path(__file__).with_name("planted.py")), name]
        limit = min(PLANTED_SECONDS, notes.budget.left() - 3.0)
        code = run_logged(command, dict(os.environ), output, limit)
        report = read_report(output.read_text(encoding="utf-8", errors="replace"))
    found = {"bug": BUGS[name][0], "found": code == ERROR_CODE, "exit_code": code, **report}
    return found if found["found"] else found | {"output": report["output"]}


def _kernels(notes: Notes, tool: str, name: str) -> dict[str, Any]:
    """The tests of the kernels, in which it must find nothing."""
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder, "output.txt"), Path(folder, "tests.jsonl")
        tests = pytest_command(["-p", "gpu.exact_memory", "-x", *TESTS])
        code = run_logged(
            [*_command(tool, name), *tests], environment(log), output, notes.budget.left() - 3.0
        )
        report = read_report(output.read_text(encoding="utf-8", errors="replace"))
        outcomes = count_outcomes(log)
    passed = outcomes["counts"].get("passed", 0)
    return {
        "clean": code == 0 and report["errors"] == 0 and passed > 0,
        "exit_code": code,
        "timed_out": code is None,
        "tests": outcomes["counts"],
        "failures": outcomes["failures"],
        **report,
    }


def read_report(text: str) -> dict[str, Any]:
    """Errors by the tool's own count, None where it came to no end, and the kernels it names."""
    counts = [int(each[0] or each[1]) for each in _SUMMARY.findall(text)]
    errors = sum(counts) if counts else None
    kernels = Counter(match.split("(")[0][:120] for match in _PLACE.findall(text))
    lines = [line for line in text.splitlines() if line.startswith("=========")]
    return {
        "errors": errors,
        "named": dict(kernels.most_common(10)),
        "output": "\n".join(lines[:25])[:2500] if errors != 0 else "",
    }
