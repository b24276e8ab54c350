"""Asks NVRTC, in a child process, since an ill-formed asm statement has crashed it; keeps what it answered.

An answer lies on disk under a name made of everything that went into it: it is never out of date.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.private_folder import private_folder

__all__ = [
    "CACHE_VARIABLE",
    "LIBRARY_VARIABLE",
    "Answer",
    "CompileError",
    "ask_nvrtc",
    "nvrtc_library",
    "unavailable_reason",
]

LIBRARY_VARIABLE = "GPU_MLP_NVRTC"  # the path of another libnvrtc.so, 12.8 or newer
CACHE_VARIABLE = "GPU_MLP_NVRTC_CACHE"

WHEELS = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
REPOSITORY = Path(__file__).resolve().parents[2]
CHILD = (sys.executable, "-m", "tests.cuda.nvrtc")
LONGEST_SECONDS = 300
UNUSED_DAYS = 30  # then a kept answer goes
MESSAGE_LINES = 20


class CompileError(RuntimeError):
    """NVRTC is missing, refuses the source or crashed, or its report cannot be read."""


@dataclass(frozen=True)
class Answer:
    """The compiler's version, the report of ptxas, the PTX, and the mangled name of every kernel."""

    version: str
    log: str
    ptx: str
    lowered: dict[str, str]


def nvrtc_library() -> Path:
    """The libnvrtc.so that GPU_MLP_NVRTC names, or that of a wheel. Raises CompileError where there is none."""
    chosen = os.environ.get(LIBRARY_VARIABLE)
    if chosen:
        if not Path(chosen).is_file():
            raise CompileError(
                f"{LIBRARY_VARIABLE} must be the path of a libnvrtc.so, but {chosen} is no file"
            )
        return Path(chosen).resolve()
    for wheel in WHEELS:
        try:
            files = importlib.metadata.files(wheel) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if re.fullmatch(r"libnvrtc\.so\.\d+", file.name):
                return Path(str(file.locate())).resolve()
    raise CompileError(
        f"NVRTC is missing; on Linux install the wheel {WHEELS[0]} or name a libnvrtc.so in {LIBRARY_VARIABLE}"
    )


def unavailable_reason() -> str | None:
    """Why nothing can be compiled here, or None where it can."""
    try:
        nvrtc_library()
    except CompileError as error:
        return str(error)
    return None


def ask_nvrtc(file: str, source: str, names: Sequence[str], arch: int, options: Sequence[str]) -> Answer:
    """What NVRTC answers, or answered to the same question before. Raises CompileError where it does not compile."""
    library = nvrtc_library()
    request = {
        "library": str(library),
        "file": file,
        "source": source,
        "names": list(names),
        "options": [*options, f"-arch=sm_{arch}"],
    }
    child = Path(__file__).with_name("nvrtc.py").read_text(encoding="utf-8")
    made_from = {**request, "library": _digest(library), "child": child}
    kept = _cache_folder() / f"{hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]}.json.gz"
    if kept.exists():
        os.utime(kept)
        return Answer(**json.loads(gzip.decompress(kept.read_bytes())))
    answer = json.loads(_run_child(json.dumps(request), f"{file} for sm_{arch}"))
    if not answer.pop("compiled"):
        raise CompileError(
            f"NVRTC {answer['version']} refuses {file} for sm_{arch}:\n{_trimmed(answer['log'])}"
        )
    _keep(kept, json.dumps(answer))
    return Answer(**answer)


def _run_child(request: str, what: str) -> str:
    try:
        done = subprocess.run(
            CHILD,
            input=request,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CompileError(f"NVRTC has not compiled {what} within {LONGEST_SECONDS} s") from None
    if done.returncode:
        end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"status {done.returncode}"
        raise CompileError(
            f"the process that compiled {what} ended with {end}\n{_trimmed(done.stderr)}".strip()
        )
    return done.stdout


def _trimmed(message: str) -> str:
    """The first errors, and what led there; an error in a template is followed by pages of notes."""
    lines = message.strip().splitlines()
    first = next((i for i, line in enumerate(lines) if "error" in line), 0)
    kept = lines[max(0, first - 2) : first + MESSAGE_LINES]
    left = len(lines) - len(kept)
    return "\n".join([*kept, *([f"({left} more lines)"] if left else [])])


@functools.cache
def _digest(library: Path) -> str:
    with library.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_folder() -> Path:
    """Where answers are kept."""
    return private_folder("nvrtc", CACHE_VARIABLE, CompileError)


def _keep(path: Path, answer: str) -> None:
    """Under its name whole or not at all; what nobody has asked for in a month goes."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="writing-", delete=False) as file:
        file.write(gzip.compress(answer.encode(), compresslevel=3, mtime=0))
    Path(file.name).replace(path)
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for each in path.parent.iterdir():
        try:
            if each.stat().st_mtime < oldest:
                each.unlink()
        except FileNotFoundError:  # another process was quicker
            continue
