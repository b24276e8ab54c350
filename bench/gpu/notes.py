"""What a stage found, kept in a file after every measurement, so that a time-out costs what was not measured alone."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu.budget import Budget

__all__ = ["Notes", "read_json", "reason", "write_json"]


def write_json(path: Path, document: Any) -> None:
    """All of it or nothing: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """The document, or {} where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def reason(error: BaseException) -> dict[str, str]:
    """An exception as it is recorded."""
    where = "".join(traceback.format_exception(error)[-3:])
    return {"failed": f"{type(error).__name__}: {error}"[:2000], "where": where[-2000:]}


class Notes:
    """The results of one stage.

    Args:
        path: the file, or None to keep them in `results` alone.
        seconds: how long the stage has.
        say: shows a line of progress.
    """

    def __init__(self, path: Path | None, seconds: float, say: Callable[[str], None] | None = None) -> None:
        self.results: dict[str, Any] = {}
        self.budget = Budget(seconds)
        self._path = path
        self._say = say or (lambda line: print(line, flush=True))
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """A line of progress, with the seconds since the stage began."""
        self._say(f"  {time.monotonic() - self._started:6.1f} s  {line}")

    def put(self, key: str, value: Any) -> None:
        """Keep a result."""
        self.results[key] = value
        self.save()

    def append(self, key: str, value: Any) -> None:
        """Keep a result in a list."""
        self.results.setdefault(key, []).append(value)
        self.save()

    def save(self) -> None:
        """Write what there is."""
        if self._path is not None:
            write_json(self._path, self.results)

    @contextmanager
    def failures(self, what: str) -> Iterator[None]:
        """Inside, an exception is recorded under "failures" and the rest of the stage goes on."""
        try:
            yield
        except Exception as error:  # whatever a device, a driver or a library throws
            self.append("failures", {"what": what, **reason(error)})
            self.say(f"FAILED {what}: {type(error).__name__}: {str(error)[:300]}")
