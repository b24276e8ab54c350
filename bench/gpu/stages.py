"""Stages, each in a process of its own with a limit: what one finds is kept, whatever becomes of the others."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu.budget import Budget, Share, limit_of
from gpu.notes import Notes, read_json, reason
from gpu.players import end_group, entry_point

__all__ = ["STAGES", "Stage", "run_stage", "run_stages", "serve_stage", "stages_named"]

POLL_SECONDS = 1.0
GRACE_SECONDS = 4.0


@dataclass(frozen=True)
class Stage:
    """What `make gpu` runs: where its `measure(notes)` is, and its share of 8 minutes."""

    name: str
    module: str
    share: Share


# In this order. The tests compile every kernel, which CuPy keeps for all later ones; `steps` takes what is left.
STAGES = (
    Stage("device", "gpu.device", Share(40, 10)),
    Stage("tests", "gpu.suite", Share(130, 60)),
    Stage("ceilings", "gpu.ceilings", Share(30, 10)),
    Stage("kernels", "gpu.kernels", Share(60, 25)),
    Stage("profile", "gpu.quiet", Share(45, 20)),
    Stage("sanitizer", "gpu.sanitizer", Share(80, 45)),
    Stage("steps", "gpu.steps", Share(1e9, 170)),
)
MINUTES = 8.0
# To start, to end what came too late, and to show the table.
RESERVE_SECONDS = 12.0


def stages_named(names: str | None) -> list[Stage]:
    """Those of a list such as "tests,kernels" in the order in which they run; all where None. Raises ValueError."""
    if names is None:
        return list(STAGES)
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    unknown = wanted - {stage.name for stage in STAGES}
    if unknown or not wanted:
        known = ", ".join(stage.name for stage in STAGES)
        raise ValueError(f"there is no stage {', '.join(sorted(unknown)) or repr(names)}; choose of {known}")
    return [stage for stage in STAGES if stage.name in wanted or stage.name == "device"]


def scaled(share: Share, minutes: float) -> Share:
    """Of another total than 8 minutes."""
    return Share(share.most * minutes / MINUTES, share.least * minutes / MINUTES)


def serve_stage(name: str, path: Path, seconds: float) -> int:
    """In the process of a stage: measure, keep, and give the exit code."""
    import importlib

    (stage,) = (each for each in STAGES if each.name == name)
    notes = Notes(path, seconds)
    notes.save()
    try:
        importlib.import_module(stage.module).measure(notes)
    except Exception as error:  # recorded, and the next stage goes on
        notes.put("error", reason(error))
        notes.say(f"FAILED: {type(error).__name__}: {error}")
        return 1
    return 0


def run_stage(
    stage: Stage, limit: float, folder: Path, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run it in a process and pass on what it has found so far, every second; returns its whole record."""
    path = folder / f"{stage.name}.json"
    started = time.monotonic()
    command = [*entry_point(), "--stage", stage.name, "--into", str(path), "--seconds", f"{limit:.1f}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    budget = Budget(limit)
    record: dict[str, Any] = {"status": "running", "limit": round(limit, 1)}
    try:
        while process.poll() is None and budget.left() > 0.0:
            try:
                process.wait(min(POLL_SECONDS, max(budget.left(), 0.01)))
            except subprocess.TimeoutExpired:
                keep({**record, "results": read_json(path)})
        code = process.poll()
    finally:
        end_group(process, GRACE_SECONDS)
    results = read_json(path)
    status = {None: "timed out", 0: "done"}.get(code, "failed")
    if status == "failed" and "error" not in results:
        results["error"] = {"failed": f"its process ended with {code}"}
    return {**record, "status": status, "seconds": round(time.monotonic() - started, 1), "results": results}


def run_stages(
    stages: Sequence[Stage],
    minutes: float,
    run: Callable[[Stage, float, Callable[[dict[str, Any]], None]], dict[str, Any]],
    keep: Callable[[str, Mapping[str, Any]], None],
    budget: Budget | None = None,
) -> None:
    """One after the other within the time; one without time left is recorded as skipped, a broken one as failed."""
    budget = budget or Budget(max(minutes * 60 - RESERVE_SECONDS, 1.0))
    shares = [scaled(stage.share, minutes) for stage in stages]
    for number, stage in enumerate(stages):
        limit = limit_of(shares[number], shares[number + 1 :], budget.left())
        if limit < 1.0:
            keep(
                stage.name,
                {"status": "skipped", "why": f"no time left of {minutes:g} minutes", "results": {}},
            )
            continue
        print(f"{stage.name}: at most {min(limit, budget.left()):.0f} s", flush=True)

        def keep_this(record: dict[str, Any], name: str = stage.name) -> None:
            keep(name, record)

        try:
            record = run(stage, limit, keep_this)
        except Exception as error:  # a stage that cannot even be started
            record = {"status": "failed", "results": {"error": reason(error)}}
        keep(stage.name, record)
