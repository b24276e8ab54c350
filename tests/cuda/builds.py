"""`build(file, arch)`: every instantiation of a file compiled for one architecture, and what ptxas says about each.

The report of ptxas and the PTX are read here; `compiler.py` gets them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpu_mlp.backends.cuda_kernels import kernel_source
from gpu_mlp.backends.fused import INSTANTIATIONS
from tests.cuda.compiler import CompileError, ask_nvrtc

__all__ = ["ARCHITECTURES", "Build", "Resources", "build", "build_source"]

# Turing, Ampere, Hopper, and both Blackwells.
ARCHITECTURES = (75, 80, 90, 100, 120)

# What CuPy's RawModule passes for options=("-std=c++17",), less its include folders, which the kernels do not use.
_CUPY_OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
# One by one: joined by a comma they are fatal.
_REPORT_OPTIONS = ("-Xptxas=-v", "-Xptxas=-warn-spills", "-Xptxas=-warn-lmem-usage")

_SECTION = re.compile(r"^.*Compiling entry function '(\w+)'", re.MULTILINE)
_ENTRY = re.compile(r"\.entry (\w+)\(")
_ACCESS = re.compile(r"\b(ld|st)((?:\.\w+)+)\s")
# Neither kernel arguments nor a block's or a thread's own memory.
_NOT_GLOBAL = {"param", "shared", "local", "const"}


@dataclass(frozen=True)
class Resources:
    """What one kernel needs; accesses are those of 16 bytes or more to global memory that its PTX holds."""

    threads: int  # the most in a block, by its launch bounds
    registers: int
    shared: int
    stack: int
    spilled: int
    wide_loads: int
    wide_stores: int


@dataclass(frozen=True)
class Build:
    """The compiler's version, and what every kernel needs by its name, "adam<float>"."""

    version: str
    kernels: Mapping[str, Resources]


def build(file: str, arch: int) -> Build:
    """Every instantiation of `cuda/<file>` that the backend can ask for. Raises CompileError."""
    return build_source(file, kernel_source(file), INSTANTIATIONS[file], arch)


def build_source(file: str, source: str, names: Sequence[str], arch: int) -> Build:
    """Kernels of any source. Raises CompileError where one does not compile or the report says nothing on it."""
    answer = ask_nvrtc(file, source, names, arch, (*_CUPY_OPTIONS, *_REPORT_OPTIONS))
    where = f"{file} for sm_{arch}"
    reports, bodies = _sections(answer.log, _SECTION), _sections(answer.ptx, _ENTRY)
    more = set(reports) - set(answer.lowered.values())
    if more:
        raise CompileError(f"{where} holds kernels that no instantiation asks for: {', '.join(sorted(more))}")
    return Build(
        answer.version,
        {
            name: _resources(reports.get(lowered, ""), bodies.get(lowered, ""), f"{name} of {where}")
            for name, lowered in answer.lowered.items()
        },
    )


def _sections(text: str, heading: re.Pattern[str]) -> dict[str, str]:
    """The text from every heading to the next, by the name in the heading."""
    found = list(heading.finditer(text))
    ends = [each.start() for each in found[1:]] + [len(text)]
    return {each[1]: text[each.end() : end] for each, end in zip(found, ends, strict=True)}


def _resources(report: str, ptx: str, kernel: str) -> Resources:
    used = re.search(r"Used (\d+) registers", report)
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    if used is None or not frames or not ptx:
        raise CompileError(f"the compiler's report says nothing on {kernel}; has its form changed?")
    shared = re.search(r"(\d+) bytes smem", report)
    bounds = re.search(r"\.maxntid (\d+)(?:, (\d+), (\d+))?", ptx)
    threads = 1024  # the most that CUDA allows
    if bounds is not None:
        threads = int(bounds[1]) * int(bounds[2] or 1) * int(bounds[3] or 1)
    return Resources(
        threads=threads,
        registers=int(used[1]),
        shared=int(shared[1]) if shared else 0,
        # Of the kernel and of what it calls.
        stack=max(int(stack) for stack, _, _ in frames),
        spilled=sum(int(stores) + int(loads) for _, stores, loads in frames),
        wide_loads=_wide_accesses(ptx, "ld"),
        wide_stores=_wide_accesses(ptx, "st"),
    )


def _wide_accesses(ptx: str, instruction: str) -> int:
    """How many `ld.global.v4.f32` and the like stand in the PTX."""
    count = 0
    for match in _ACCESS.finditer(ptx):
        _, *qualifiers = match[2].split(".")
        bits = re.fullmatch(r"[a-z]+(\d+)", qualifiers[-1])
        if match[1] == instruction and bits and not _NOT_GLOBAL & set(qualifiers):
            vector = next((int(each[1:]) for each in qualifiers if re.fullmatch(r"v\d", each)), 1)
            count += vector * int(bits[1]) >= 128
    return count
