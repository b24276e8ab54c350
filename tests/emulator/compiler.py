"""The g++ calls, and a cache on disk of the shared objects they made.

A shared object is named by everything it was made from (source, headers, flags, compiler), so it is never out of date.
It appears under its name whole or not at all, and of several processes that want it one compiles while the others wait.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.emulator.errors import EmulatorError
from tests.private_folder import private_folder

__all__ = [
    "CACHE_VARIABLE",
    "MODES",
    "RUNTIME",
    "UNUSED_DAYS",
    "address_sanitizer_is_loaded",
    "cache_folder",
    "forget_unused",
    "kernel_library",
    "runtime_library",
    "unavailable_reason",
]

CACHE_VARIABLE = "GPU_MLP_EMULATOR_CACHE"
RUNTIME = Path(__file__).resolve().parent / "runtime"
OLDEST_COMPILER = 12  # the first with -ftrivial-auto-var-init and _Float16
UNUSED_DAYS = 30  # then a cached file goes
MESSAGE_LINES = 30

# As NVRTC reads a kernel: C++17, no exceptions, multiplication and addition contracted.
_KERNEL_FLAGS = (
    *("-x", "c++", "-std=c++17", "-fPIC", "-g1", "-gdwarf-4", "-w", "-fvisibility=hidden"),
    *("-fno-strict-aliasing", "-fno-exceptions", "-fno-threadsafe-statics", "-fstack-clash-protection"),
    *("-mf16c", "-mfma", "-ffp-contract=fast"),
    "-ftrivial-auto-var-init=pattern",  # a variable without a value has a strange one, the same on every run
)
MODES: Mapping[str, tuple[str, ...]] = {
    # Wrong answers, deadlocks, what lies beyond a guarded array: quick enough for large cases.
    "fast": ("-O2",),
    # g++ calls the runtime around every access: races, bounds, alignment, memory that nobody has written.
    "check": (
        *("-O1", "-fno-tree-vectorize"),
        *("-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0"),
        *("--param", "tsan-distinguish-volatile=1"),
        "-fsanitize=bounds-strict,alignment,shift,integer-divide-by-zero",
    ),
    # Local arrays too; a report ends the process, which must have libasan preloaded.
    "asan": ("-O1", "-fsanitize=address"),
}
_RUNTIME_FLAGS = ("-std=c++20", "-g1", "-fPIC", "-fno-exceptions", "-shared")


def unavailable_reason() -> str | None:
    """Why no kernel can run here, or None where one can."""
    if sys.platform != "linux":
        return f"the emulator needs Linux, and this is {sys.platform}"
    if platform.machine() != "x86_64":
        return f"the emulator needs an x86-64 processor, and this is {platform.machine()}"
    missing = {"f16c", "fma"} - _processor_features()
    if missing:
        return f"the emulator needs a processor with {' and '.join(sorted(missing))}"
    compiler = shutil.which("g++")
    if compiler is None:
        return f"the emulator needs g++ {OLDEST_COMPILER} or newer, and there is no g++ on the PATH"
    version = _version(compiler)
    if version[0] < OLDEST_COMPILER:
        shown = ".".join(map(str, version)) if version[0] else "of no version that could be read"
        return f"the emulator needs g++ {OLDEST_COMPILER} or newer, and {compiler} is {shown}"
    return None


@functools.cache
def _processor_features() -> frozenset[str]:
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return frozenset(flags[1].split()) if flags else frozenset()


@functools.cache
def _version(compiler: str) -> tuple[int, ...]:
    done = subprocess.run(
        [compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True, check=False
    )
    return tuple(map(int, re.findall(r"\d+", done.stdout))) or (0,)


@functools.cache
def _compiler() -> tuple[str, tuple[int, ...]]:
    reason = unavailable_reason()
    if reason is not None:
        raise EmulatorError(reason)
    path = shutil.which("g++")
    assert path is not None
    return path, _version(path)


def cache_folder() -> Path:
    """Where the shared objects lie. Raises EmulatorError where it cannot be made or is not its owner's alone."""
    because = ", because what lies there is executed"
    return private_folder("emulator", CACHE_VARIABLE, EmulatorError, because)


def address_sanitizer_is_loaded() -> bool:
    """Whether this process was started with libasan preloaded; everything then speaks to it."""
    return hasattr(ctypes.CDLL(None), "__asan_init")


def _sanitizer_flags() -> tuple[str, ...]:
    return ("-fsanitize=address",) if address_sanitizer_is_loaded() else ()


def runtime_library() -> Path:
    """The shared object with the runtime, compiled on first use."""
    flags = (*_RUNTIME_FLAGS, *(_sanitizer_flags() or ("-O2",)))  # slow to compile with both
    sources = {path.name: path.read_text() for path in sorted(RUNTIME.glob("**/*.?pp"))}

    def make(folder: Path) -> None:
        forget_unused()
        _call([*flags, "-o", str(folder / "out.so"), str(RUNTIME / "all.cpp")])

    return _cached(("runtime", flags, sources), make)


def kernel_library(source: str, filename: str, headers: Mapping[str, str], mode: str) -> Path:
    """The shared object with the kernels of this C++ source, compiled on first use.

    `headers` are the texts of the files it may include; `filename` is what messages call it.
    """
    runtime = runtime_library()
    flags = (*_KERNEL_FLAGS, *MODES[mode], "-I", str(RUNTIME), "-I", str(RUNTIME / "include"))
    provided = {path.name: path.read_text() for path in sorted(RUNTIME.glob("**/*.h*"))}
    sanitizer = _sanitizer_flags()

    def make(folder: Path) -> None:
        for name, text in headers.items():
            (folder / name).write_text(text)
        (folder / "kernels.cpp").write_text(f'#line 1 "{filename}"\n{source}')
        compiled = str(folder / "kernels.o")
        include = ("-I", str(folder), "-include", "cuda_emulator.hpp")
        _call([*flags, *include, "-c", "-o", compiled, str(folder / "kernels.cpp")])
        search = f"-Wl,-rpath,{runtime.parent}"
        out = str(folder / "out.so")
        _call(["-shared", "-Wl,-Bsymbolic", *sanitizer, "-o", out, compiled, str(runtime), search])

    return _cached(("kernels", source, filename, dict(headers), provided, flags, str(runtime)), make)


def _cached(made_from: object, make: Callable[[Path], None]) -> Path:
    """The shared object made from this; `make` leaves it as out.so in the folder it is given."""
    folder = cache_folder()
    name = hashlib.sha256(repr((_compiler(), made_from)).encode()).hexdigest()[:32]
    path = folder / f"{name}.so"
    if not path.exists():
        with _locked(folder / f"{name}.lock"):
            if not path.exists():
                with tempfile.TemporaryDirectory(prefix="building-", dir=folder) as build:
                    make(Path(build))
                    (Path(build) / "out.so").replace(path)
    os.utime(path)
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def forget_unused() -> None:
    """Remove what no process has asked for in a month."""
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for path in cache_folder().iterdir():
        if path.suffix in {".so", ".lock"} and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def _call(arguments: list[str]) -> None:
    """Run g++; raises EmulatorError with what it said."""
    compiler, _ = _compiler()
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmulatorError(f"g++ refuses the source:\n{_trimmed(done.stderr)}")


def _trimmed(message: str) -> str:
    """The first errors with their lines; g++ prints pages of notes for one mistake in a template."""
    lines = message.strip().splitlines()
    first = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    # What led there, an instantiation say, stands above the error.
    kept = lines[max(0, first - 4) : first + MESSAGE_LINES]
    left = len(lines) - len(kept)
    return "\n".join([*kept, *([f"({left} more lines)"] if left else [])])
