"""Where nothing can be compiled the reason is told; what is compiled is kept in a private folder, once."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.emulator import EmulatorError, unavailable_reason
from tests.emulator.compiler import (
    CACHE_VARIABLE,
    UNUSED_DAYS,
    cache_folder,
    forget_unused,
    kernel_library,
)

ROOT = Path(__file__).resolve().parents[2]
FILL = """
from tests.emulator import Module, zeros
source = 'extern "C" __global__ void fill(int* x) { x[threadIdx.x] = 7; }'
x = zeros(4, "i4")
Module(source).get_function("fill")((1,), (4,), (x,))
print(x.sum())
"""


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A new process in the repository."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def program(folder: Path, name: str, script: str) -> Path:
    """An executable in the folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# ---- where it cannot run


def test_without_a_compiler_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("tests.emulator.compiler._processor_features", lambda: {"fma", "f16c"})
    assert unavailable_reason() == "the emulator needs g++ 12 or newer, and there is no g++ on the PATH"


@pytest.mark.parametrize(
    ("printed", "shown"), [("11.4.0", "is 11.4.0"), ("", "is of no version that could be read")]
)
def test_an_old_compiler_is_not_taken(
    printed: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = program(tmp_path, "g++", f"echo {printed}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("tests.emulator.compiler._processor_features", lambda: {"fma", "f16c"})
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert unavailable_reason() == f"the emulator needs g++ 12 or newer, and {compiler} {shown}"


def test_another_machine_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert unavailable_reason() == "the emulator needs an x86-64 processor, and this is aarch64"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert unavailable_reason() == "the emulator needs Linux, and this is darwin"


def test_a_processor_without_its_instructions_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("tests.emulator.compiler._processor_features", lambda: {"fma", "sse2"})
    assert unavailable_reason() == "the emulator needs a processor with f16c"


def test_tests_are_skipped_without_a_compiler() -> None:
    arguments = (
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-rs",
        "tests/emulator/test_kernels.py",
        "-k",
        "pipeline",
    )
    output, _ = python(*arguments, PATH="").communicate(timeout=120)
    reason = "there is no g++ on the PATH" if unavailable_reason() is None else "the emulator needs"
    assert re.search(rf"SKIPPED \[\d+\] .*{re.escape(reason)}", output), output
    assert re.search(r"^\d+ skipped", output, re.MULTILINE), output
    assert "passed" not in output
    assert "failed" not in output


def test_a_module_without_a_compiler_is_refused(tmp_path: Path) -> None:
    _, message = python("-c", FILL, PATH="", **{CACHE_VARIABLE: str(tmp_path / "cache")}).communicate(
        timeout=60
    )
    assert "EmulatorError: the emulator needs" in message


# ---- the cache


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "gpu_mlp" / "emulator"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gpu_mlp" / "emulator"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_folder_that_others_can_use_is_refused(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    with pytest.raises(EmulatorError, match="must be a folder that you alone can use"):
        cache_folder()


def test_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(EmulatorError, match="must be a folder that you alone can use"):
        cache_folder()


COMPILE = """
from tests.emulator.compiler import kernel_library
print(kernel_library("int x;", "a.cu", {}, "fast").read_text())"""


def stand_in(folder: Path, on_kernels: str) -> dict[str, str]:
    """The environment with a slow g++ that notes what it makes, and for kernels does this as well."""
    make = 'while [ "$1" != -o ]; do shift; done; sleep 0.3; echo "${2##*/}" >> "$LOG"; echo made > "$2"'
    kernels = f'case "$*" in *kernels.cpp) {on_kernels};; esac'
    program(folder, "g++", f'case "$1" in -dump*) echo 12.2.0; exit;; esac\n{kernels}\n{make}')
    log, cache = str(folder / "calls"), str(folder / "cache")
    return {"PATH": f"{folder}:/bin:/usr/bin", "LOG": log, CACHE_VARIABLE: cache}


@pytest.mark.usefixtures("emulator")
def test_processes_that_want_the_same_compile_it_once(tmp_path: Path) -> None:
    environment = stand_in(tmp_path, ":")
    processes = [python("-c", COMPILE, **environment) for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [output.strip() for output, _ in outputs] == ["made"] * 3, outputs
    made = (tmp_path / "calls").read_text().split()
    assert made == ["out.so", "kernels.o", "out.so"]  # the runtime, the kernels, both linked
    left = sorted(path.suffix for path in (tmp_path / "cache").iterdir())
    assert left == [".lock", ".lock", ".so", ".so"]


@pytest.mark.usefixtures("emulator")
def test_a_refused_source_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = stand_in(tmp_path, "echo 'a.cu:1:5: error: no x here' >&2; exit 1")
    _, message = python("-c", COMPILE, **environment).communicate(timeout=60)
    assert "EmulatorError: g++ refuses the source:\na.cu:1:5: error: no x here\n" in message
    left = sorted(path.suffix for path in (tmp_path / "cache").iterdir())
    assert left == [".lock", ".lock", ".so"]  # the runtime


@pytest.mark.usefixtures("emulator")
def test_what_it_was_made_from_names_it() -> None:
    library = kernel_library("int x;", "a.cu", {}, "fast")
    assert kernel_library("int x;", "a.cu", {}, "fast") == library
    others = {
        kernel_library("int y;", "a.cu", {}, "fast"),
        kernel_library("int x;", "b.cu", {}, "fast"),
        kernel_library("int x;", "a.cu", {"a.cuh": ""}, "fast"),
        kernel_library("int x;", "a.cu", {}, "check"),
    }
    assert len(others - {library}) == 4


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(
        EmulatorError, match=r"cache cannot be made .*; name another folder in GPU_MLP_EMULATOR_CACHE"
    ):
        cache_folder()


def test_what_nobody_has_used_in_a_month_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    old, recent, note = (cache_folder() / name for name in ("old.so", "recent.so", "note.txt"))
    for path, days in ((old, UNUSED_DAYS + 1), (recent, UNUSED_DAYS - 1), (note, UNUSED_DAYS + 1)):
        path.touch()
        os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    forget_unused()
    assert [path.exists() for path in (old, recent, note)] == [False, True, True]


# ---- AddressSanitizer


OVERFLOW = """
from tests.emulator import Module, asarray, empty
import numpy as np
source = '''
extern "C" __global__ void window(const float* x, float* y, int n) {
  float kept[4] = {};
  float* at = kept;
  for (int i = 0; i < n; ++i) at[i] = x[i];
  __syncthreads();
  y[threadIdx.x] = at[threadIdx.x];
}'''
kernel = Module(source, filename="window.cu", mode="asan").get_function("window")
x, y = asarray(np.ones(8, "f4")), empty(4)
kernel((1,), (4,), (x, y, np.int32(4)))
print(y.sum(), flush=True)
kernel((1,), (4,), (x, y, np.int32(5)))
"""


@pytest.mark.usefixtures("emulator")
def test_address_sanitizer_sees_a_local_array_left_through_a_pointer() -> None:
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    library = found.stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip("there is no libasan")
    process = python("-c", OVERFLOW, LD_PRELOAD=library, ASAN_OPTIONS="detect_leaks=0")
    output, message = process.communicate(timeout=120)
    assert output == "4.0\n", message
    assert "stack-buffer-overflow" in message
    assert re.search(r"WRITE of size 4(.|\n)*window\.cu:5", message), message


@pytest.mark.usefixtures("emulator")
def test_address_sanitizer_must_be_loaded_first() -> None:
    _, message = python("-c", OVERFLOW).communicate(timeout=60)
    assert "EmulatorError: the mode asan needs a process started with LD_PRELOAD=" in message
