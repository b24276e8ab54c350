"""Everything that needs a GPU, in one command: `python bench/gpu`, or `make gpu`.

    python bench/gpu                                # all stages, 8 minutes
    python bench/gpu --stages tests,kernels         # some of them: see stages.py
    python bench/gpu --minutes 4 --results FOLDER   # less time; the results file into another folder

Builds and fetches nothing: it runs with the Python that runs it and with what that has installed. A table comes last.
"""

from __future__ import annotations

import argparse
import datetime
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu.notes import write_json
from gpu.report import problems_of, report
from gpu.stages import MINUTES, Stage, run_stage, run_stages, serve_stage, stages_named

__all__ = ["Document", "main", "parse", "whole"]

BENCH = Path(__file__).resolve().parents[1]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; those of the process where None."""
    parser = argparse.ArgumentParser(prog="bench/gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stages", help="some of them, separated by commas (default: all)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all together (default 8)")
    parser.add_argument("--results", type=Path, default=BENCH / "results", help="folder of the results file")
    parser.add_argument("--commit", help="what the results file names, where this checkout has no history")
    for name, kind in (
        ("stage", str),
        ("into", Path),
        ("seconds", float),
        ("contestant", str),
        ("device", str),
    ):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)  # of the processes that it starts
    arguments = parser.parse_args(argv)
    try:
        arguments.chosen = stages_named(arguments.stages)
    except ValueError as error:
        parser.error(str(error))
    if not 0.1 <= arguments.minutes <= 600:
        parser.error(f"--minutes is {arguments.minutes:g}, but must be between 0.1 and 600")
    return arguments


class Document:
    """The results file: renamed after the GPU as soon as that has told its name, written after every measurement."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.content = {"gpu": "unknown GPU", **content, "stages": {}}
        self._folder = folder
        self.path = self._free_path()

    def keep(self, stage: str, record: Mapping[str, Any]) -> None:
        """What a stage has found so far."""
        self.content["stages"][stage] = dict(record)
        name = record.get("results", {}).get("name") if stage == "device" else None
        if name and name != self.content["gpu"]:
            self.content["gpu"] = name
            self.path.unlink(missing_ok=True)
            self.path = self._free_path()
        write_json(self.path, self.content)

    def _free_path(self) -> Path:
        """`nvidia-h200-2026-11-24.json`, or the next that no other run of the day has."""
        slug = re.sub(r"[^a-z0-9]+", "-", str(self.content["gpu"]).lower()).strip("-")
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        path, number = self._folder / f"{slug}-{day}.json", 1
        while path.exists():
            number += 1
            path = self._folder / f"{slug}-{day}-{number}.json"
        return path


def whole(arguments: argparse.Namespace) -> int:
    """Run the stages, then show what they found; 1 where something is broken."""
    from stamp import stamp

    content = stamp()
    if arguments.commit:
        content["commit"] = arguments.commit
    document = Document(
        arguments.results, {**content, "python": sys.executable, "minutes": arguments.minutes}
    )
    with tempfile.TemporaryDirectory() as folder:

        def run(stage: Stage, limit: float, keep: Any) -> dict[str, Any]:
            return run_stage(stage, limit, Path(folder), keep)

        try:
            run_stages(arguments.chosen, arguments.minutes, run, document.keep)
        except KeyboardInterrupt:
            document.content["interrupted"] = True
    document.content["problems"] = problems_of(document.content)
    write_json(document.path, document.content)
    print(f"\n{report(document.content)}")
    for problem in document.content["problems"]:
        print(f"not in order: {problem}")
    print(f"results: {document.path}", flush=True)
    return 1 if document.content["problems"] or document.content.get("interrupted") else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command, or one of the processes that it starts."""
    arguments = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then ends what it started
    if arguments.contestant is not None:
        from gpu.contestants import entry_of
        from gpu.worker import serve

        serve(entry_of(arguments.contestant).make, arguments.device)
        return 0
    if arguments.stage is not None:
        return serve_stage(arguments.stage, arguments.into, arguments.seconds)
    return whole(arguments)
