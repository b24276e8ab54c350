"""A compiler that crashes, hangs or is missing is told by name; answers are kept in a private folder."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cuda import builds, compiler
from tests.cuda.builds import build_source
from tests.cuda.compiler import (
    CACHE_VARIABLE,
    LIBRARY_VARIABLE,
    REPOSITORY,
    UNUSED_DAYS,
    Answer,
    CompileError,
    ask_nvrtc,
    nvrtc_library,
    unavailable_reason,
)
from tests.cuda.test_builds import NEEDS_NVRTC

FILL = 'extern "C" __global__ void fill(int* x_n) { x_n[threadIdx.x] = 7; }'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a file in the place of NVRTC: a test of its own child needs no more."""
    library = tmp_path / "libnvrtc.so.13"
    library.touch()
    monkeypatch.setenv(LIBRARY_VARIABLE, str(library))
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


def child_runs(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Another program in the place of the one that calls NVRTC."""
    monkeypatch.setattr(compiler, "CHILD", (sys.executable, "-c", code))


def ask() -> Answer:
    """A question without a name expression."""
    return ask_nvrtc("fill.cu", FILL, ["fill"], 90, ["-std=c++17"])


# ---- the child


@pytest.mark.usefixtures("cache")
def test_a_crash_is_told_with_file_and_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(
        CompileError, match=r"the process that compiled fill.cu for sm_90 ended with SIGSEGV$"
    ):
        ask()


@pytest.mark.usefixtures("cache")
def test_a_child_that_fails_is_told_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, "raise SystemExit('the library is of another machine')")
    with pytest.raises(CompileError, match="sm_90 ended with status 1\nthe library is of another machine"):
        ask()


@pytest.mark.usefixtures("cache")
def test_a_compiler_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(compiler, "LONGEST_SECONDS", 0.5)
    with pytest.raises(CompileError, match=r"NVRTC has not compiled fill.cu for sm_90 within"):
        ask()


def test_a_report_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer("13.0", "Compiling entry function 'fill' for 'sm_90'\n", ".entry fill(", {"fill": "fill"})
    monkeypatch.setattr(builds, "ask_nvrtc", lambda *_: answer)
    with pytest.raises(
        CompileError, match=r"says nothing on fill of fill.cu for sm_90; has its form changed\?"
    ):
        build_source("fill.cu", FILL, ["fill"], 90)


# ---- the compiler


def test_another_library_can_be_chosen(cache: Path) -> None:
    assert nvrtc_library() == cache.parent / "libnvrtc.so.13"
    assert unavailable_reason() is None


def test_a_chosen_library_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path / "libnvrtc.so"))
    assert re.fullmatch(
        f"{LIBRARY_VARIABLE} must be the path of a libnvrtc.so, but .* is no file", unavailable_reason() or ""
    )


def test_without_nvrtc_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(importlib.metadata, "files", missing)
    assert unavailable_reason() == (
        "NVRTC is missing; on Linux install the wheel nvidia-cuda-nvrtc or name a libnvrtc.so in GPU_MLP_NVRTC"
    )


def test_without_nvrtc_the_tests_are_skipped() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "tests/cuda/test_builds.py"]
    environment = {**os.environ, LIBRARY_VARIABLE: "/nowhere/libnvrtc.so"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "SKIPPED" in done.stdout
    assert "/nowhere/libnvrtc.so is no file" in done.stdout


# ---- what is kept

COUNTED = """
import json, pathlib, sys
calls = pathlib.Path({calls!r})
calls.write_text(calls.read_text() + "." if calls.exists() else ".")
json.dump({{"version": "13.0", "compiled": {compiled}, "log": "error: no", "ptx": "", "lowered": {{}}}}, sys.stdout)
"""


def test_an_answer_is_kept_for_the_same_question_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = cache.parent / "calls"
    child_runs(monkeypatch, COUNTED.format(calls=str(calls), compiled=True))
    assert ask() == ask()
    assert calls.read_text() == "."
    ask_nvrtc("fill.cu", FILL + " ", ["fill"], 90, ["-std=c++17"])
    ask_nvrtc("fill.cu", FILL, [], 90, ["-std=c++17"])
    ask_nvrtc("fill.cu", FILL, ["fill"], 80, ["-std=c++17"])
    ask_nvrtc("fill.cu", FILL, ["fill"], 90, ["-std=c++14"])
    other = cache.parent / "other.so"
    other.write_bytes(b"another compiler")
    monkeypatch.setenv(LIBRARY_VARIABLE, str(other))
    ask()
    assert calls.read_text() == "......"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert len(list(cache.iterdir())) == 6


def test_a_refusal_is_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, COUNTED.format(calls=str(cache.parent / "calls"), compiled=False))
    for _ in range(2):
        with pytest.raises(CompileError, match=r"NVRTC 13.0 refuses fill.cu for sm_90:\nerror: no"):
            ask()
    assert (cache.parent / "calls").read_text() == ".."
    assert list(cache.iterdir()) == []


def test_what_nobody_has_asked_for_in_a_month_goes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child_runs(monkeypatch, COUNTED.format(calls=str(cache.parent / "calls"), compiled=True))
    cache.mkdir(mode=0o700)
    old, recent = cache / "old.json.gz", cache / "recent.json.gz"
    for path, days in ((old, UNUSED_DAYS + 1), (recent, UNUSED_DAYS - 1)):
        path.touch()
        os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    ask()
    assert not old.exists()
    assert recent.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_folder_that_others_can_use_is_refused(cache: Path, mode: int) -> None:
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(CompileError, match=r"must be a folder that you alone can use \(mode 700\)"):
        ask()


def test_a_link_or_a_file_is_refused(cache: Path) -> None:
    (cache.parent / "elsewhere").mkdir(mode=0o700)
    cache.symlink_to(cache.parent / "elsewhere")
    with pytest.raises(CompileError, match="must be a folder that you alone can use"):
        ask()
    cache.unlink()
    cache.touch()
    with pytest.raises(CompileError, match="cannot be made"):
        ask()


@NEEDS_NVRTC
def test_a_kept_answer_is_what_nvrtc_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    first = ask()
    child_runs(monkeypatch, "raise SystemExit('asked again')")
    assert ask() == first
    assert first.lowered == {"fill": "fill"}
    assert replace(first, log="", ptx="") != first
