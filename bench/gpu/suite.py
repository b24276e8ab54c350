"""The stage `tests`: the whole test suite on the device, where a backend that cannot run is a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu.notes import Notes
from gpu.players import end_group
from gpu.recorder import is_on_device

__all__ = ["count_outcomes", "environment", "measure", "pytest_command", "run_logged"]

ROOT = Path(__file__).resolve().parents[2]
MOST_WORKERS = 12
LISTED = 200


def measure(notes: Notes, arguments: Sequence[str] = ()) -> None:
    """Run it, and record what came of every test until the time is up."""
    if find_spec("pytest") is None:
        notes.put("not_run", "pytest is not installed for this Python")
        notes.say(notes.results["not_run"])
        return
    with tempfile.TemporaryDirectory() as folder:
        log, output = Path(folder, "tests.jsonl"), Path(folder, "output.txt")
        command = pytest_command([*_workers(), *arguments])
        code = run_logged(command, environment(log), output, notes.budget.left() - 2.0)
        found = count_outcomes(log)
        tail = output.read_text(encoding="utf-8", errors="replace")[-3000:]
    notes.put("command", " ".join(command[1:]))
    notes.put("exit_code", code)
    notes.put("timed_out", code is None)
    for key, value in found.items():
        notes.put(key, value)
    if code not in (0, None) and not found["failures"]:
        notes.put("output", tail)
    notes.say(f"{found['counts']}{', TIMED OUT' if code is None else ''}")
    for each in found["failures"][:8]:
        notes.say(f"{each['outcome']} {each['test']}: {each.get('why', '')[:160]!r}")


def _workers() -> list[str]:
    if find_spec("xdist") is None:
        return []
    return ["-p", "xdist.plugin", "-n", str(max(1, min(MOST_WORKERS, os.cpu_count() or 1)))]


def pytest_command(arguments: Sequence[str]) -> list[str]:
    """pytest with the recorder and no other plugins than those asked for: the environment may hold any.

    Another environment than ours may have packages that warn of their own future: that fails no test.
    """
    quiet = [
        f"-Wdefault::{each}" for each in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
    ]
    return [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "gpu.recorder",
        "-p",
        "no:cacheprovider",
        *quiet,
        *arguments,
    ]


def environment(log: Path) -> dict[str, str]:
    """Variables of a test run: this checkout first, no plugins by themselves, skipped GPU tests are failures."""
    paths = [str(ROOT), str(ROOT / "bench"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(each for each in paths if each),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "GPU_MLP_REQUIRE_GPU": "1",
        "GPU_MLP_TEST_LOG": str(log),
        # Of every process beside the others.
        **{name: os.environ.get(name, "2") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
    }


def run_logged(command: Sequence[str], variables: dict[str, str], output: Path, seconds: float) -> int | None:
    """The exit code, or None where the time was up and the process was ended; all it writes is in `output`."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            return None
        finally:
            end_group(process)


def count_outcomes(log: Path) -> dict[str, Any]:
    """How many tests ended how; who failed; why others were skipped; and which took longest."""
    rows: list[dict[str, Any]] = []
    if log.exists():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    skipped = Counter(row.get("why", "") for row in rows if row["outcome"] == "skipped")
    slowest = sorted(rows, key=lambda row: -row.get("seconds", 0.0))[:10]
    on_device = [row for row in rows if is_on_device(row["test"])]
    return {
        "counts": dict(Counter(row["outcome"] for row in rows)),
        "counts_on_the_device": dict(Counter(row["outcome"] for row in on_device)),
        "failures": [row for row in rows if row["outcome"] in ("failed", "error")][:LISTED],
        "skipped": dict(skipped.most_common(20)),
        "slowest": {row["test"]: round(row.get("seconds", 0.0), 2) for row in slowest},
    }
