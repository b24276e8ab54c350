"""Running `gpu-mlp`: `run` in this process and fast, `start` as a process of its own where that matters."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import gpu_mlp
from gpu_mlp.cli import main

REPOSITORY = Path(gpu_mlp.__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """The exit code of a command and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object that is all of stdout."""
        assert self.out.count("\n") == 1, self.out
        document = json.loads(self.out, parse_constant=lambda name: json.loads(f"no JSON: {name}"))
        assert isinstance(document, dict)
        return document


def run(*arguments: object) -> Outcome:
    """`gpu-mlp ARGUMENTS` in this process, with neither stream a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> Outcome:
    """`run`, which must end with exit code 0."""
    outcome = run(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


class Trained(NamedTuple):
    """A run: its folder, the table it was trained on where that is a file, and what the command wrote."""

    folder: Path
    table: Path | None
    outcome: Outcome

    @property
    def model(self) -> Path:
        """The model's file."""
        return self.folder / "model.safetensors"


def train(folder: Path, *arguments: object, table: Path | None = None) -> Trained:
    """`gpu-mlp train ARGUMENTS --out FOLDER/run` on the CPU, for fixtures that many tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPU_MLP_DEVICE", "cpu")
        outcome = done("train", *arguments, "--out", folder / "run")
    return Trained(folder / "run", table, outcome)


def environment(**changes: str) -> dict[str, str]:
    """Of a process: this one's, with the package importable, nothing that sets colours, and one BLAS thread."""
    settings = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "GPU_MLP_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
        "TERM": "xterm-256color",
        **changes,
    }


def start(
    folder: Path, *arguments: object, stderr: int = subprocess.PIPE, **changes: str
) -> subprocess.Popen[str]:
    """`python -m gpu_mlp ARGUMENTS` in `folder`, its stdout a pipe, with these changes of the environment."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "gpu_mlp", *map(str, arguments)],
        cwd=folder,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
    )


def finished(process: subprocess.Popen[str], seconds: float = 60) -> Outcome:
    """What the process came to; it is killed where it takes too long."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.wait()
    return Outcome(process.returncode, out, err or "")


def everything_in(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file, and b'' of every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def bits_of(model: Path) -> list[bytes]:
    """Every weight and bias of a model's file."""
    network = gpu_mlp.load(model, "cpu").network
    return [array.tobytes() for array in (*network.weights, *network.biases)]
