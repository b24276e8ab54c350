"""A pseudo-terminal for a process to write to, and what a person would see of what it wrote."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path

from tests.cli.commands import Outcome, finished, start

__all__ = ["colours_in", "frames_of", "on_terminal"]

ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def on_terminal(folder: Path, *arguments: object, width: int = 120, **changes: str) -> Outcome:
    """`gpu-mlp ARGUMENTS` with stderr a terminal of this width and stdout a pipe."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    chunks: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(ours, 1 << 16):
                chunks.append(chunk)
        except OSError:  # how Linux says that the other side was closed
            pass

    process: subprocess.Popen[str] = start(folder, *arguments, stderr=theirs, **changes)
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        outcome = finished(process)
    finally:
        reader.join(timeout=10)
        os.close(ours)
    return Outcome(outcome.code, outcome.out, b"".join(chunks).decode("utf-8"))


def frames_of(text: str) -> list[str]:
    """Every state of every line, one after the other, without escapes."""
    plain = ESCAPE.sub(lambda match: "\r" if match[2] == "K" else "", text)
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def colours_in(text: str) -> list[str]:
    """The escapes that set a colour; bold and the like are none."""
    codes = [match[1] for match in ESCAPE.finditer(text) if match[2] == "m"]
    return [code for code in codes if re.match(r"(3[0-8]|4[0-8]|9[0-7]|10[0-7])(;|$)", code)]
