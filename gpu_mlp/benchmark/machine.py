"""The machine that a result was measured on: what a reader must know to believe it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["available_bytes", "describe_machine", "installed_versions", "processor_name"]

PACKAGES = (
    *("gpu_mlp", "numpy", "scipy", "numba", "cupy-cuda12x", "cupy-cuda13x", "nvmath-python"),
    *("torch", "jax", "jaxlib", "scikit-learn"),
)


def describe_machine(threads: int) -> dict[str, Any]:
    """Plain data: processor, memory, system, threads, BLAS libraries, versions; no name of the machine or its user."""
    return {
        "processor": processor_name(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "memory_bytes": _memory("MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": installed_versions(PACKAGES),
        "blas": _blas(),
    }


def available_bytes() -> int | None:
    """Memory that could be taken without swapping; None where the system does not tell."""
    return _memory("MemAvailable")


def _memory(name: str) -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def processor_name() -> str:
    """The model's name as Linux gives it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _blas() -> list[str]:
    from threadpoolctl import threadpool_info

    return sorted(
        f"{info['internal_api']} {info['version']} ({info.get('architecture', '?')})"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    )
