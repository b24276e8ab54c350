"""The other end of a worker: a player is asked, and has so long to answer."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gpu.contestants import Entry

__all__ = ["Player", "PlayerError", "end_group", "entry_point"]


class PlayerError(Exception):
    """A player failed, came too late or is gone; the text says how."""


def entry_point() -> list[str]:
    """The command that runs this folder with this Python."""
    return [sys.executable, str(Path(__file__).resolve().parent)]


def end_group(process: subprocess.Popen[Any], grace: float = 0.0) -> None:
    """End a process that was started in a session of its own, and all that it started there.

    Within `grace` seconds it may itself end what it started in other sessions.
    """
    if grace and process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


class Player:
    """A contestant's process, started with the first request and again after it had to be ended.

    `left` is what it still has of the seconds to prepare in, `strikes` how often in a row it was not ready.
    """

    def __init__(self, entry: Entry, device: str) -> None:
        self.entry, self._device = entry, device
        self.left = entry.seconds
        self.strikes = 0
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._log: IO[str] | None = None
        self._asked = 0.0

    def ask(self, **request: Any) -> None:
        """Send a request, whose answer is fetched by `answer`."""
        process = self._process or self._start()
        self._asked = time.monotonic()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def answer(self, seconds: float) -> dict[str, Any]:
        """What it says, so many seconds from now at the latest. Raises PlayerError, and ends it, where it fails."""
        try:
            line = self._answers.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            self.close()
            waited = time.monotonic() - self._asked
            raise PlayerError(f"no answer within {waited:.0f} s") from None
        if line is None:
            raise self._gone()
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            self.close()  # a CUDA context may be broken
            raise PlayerError(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        end_group(process)
        for stream in (process.stdin, process.stdout, self._log):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _start(self) -> subprocess.Popen[str]:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        process = subprocess.Popen(
            [*entry_point(), "--contestant", self.entry.name, "--device", self._device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=True,
        )
        answers: queue.Queue[str | None] = queue.Queue()
        self._process, self._answers = process, answers

        def read() -> None:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    answers.put(line)
            except ValueError:  # closed meanwhile
                pass
            answers.put(None)

        threading.Thread(target=read, daemon=True).start()
        return process

    def _gone(self) -> PlayerError:
        """Why the process is not there any more, by the end of what it wrote."""
        text = ""
        if self._log is not None:
            self._log.seek(0)
            text = self._log.read()[-600:].strip()
        code = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(2.0)  # its output ended a moment before it
        self.close()
        return PlayerError(f"its process ended ({code}): {text}")
