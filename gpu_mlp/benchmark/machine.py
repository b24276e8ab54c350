"""The machine that a result was measured on: what a reader must know to believe it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpu_mlp.backends.threads import processors

__all__ = [
    "available_bytes",
    "describe_machine",
    "installed_versions",
    "library_settings",
    "notes_on_machine",
    "processor_name",
]

PACKAGES = (
    *("gpu_mlp", "numpy", "scipy", "numba", "cupy-cuda12x", "cupy-cuda13x", "nvmath-python"),
    *("torch", "jax", "jaxlib", "scikit-learn"),
)

# Variables that libraries which multiply read when they are loaded begin so.
SETTINGS = ("OPENBLAS_", "MKL_", "OMP_", "KMP_", "BLIS_", "NPY_", "NUMBA_", "XLA_", "TORCH")


def describe_machine(threads: int) -> dict[str, Any]:
    """Plain data: processor, memory, system, threads, BLAS, settings, versions; no name of the machine or its user."""
    return {
        "processor": processor_name(),
        "processors": processors(),
        "threads": threads,
        "memory_bytes": _memory("MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": installed_versions(PACKAGES),
        "blas": _blas(),
        "settings": library_settings(os.environ),
    }


def library_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which somebody has decided on threads, kernels or compilation."""
    return {name: environment[name] for name in sorted(environment) if name.startswith(SETTINGS)}


def notes_on_machine(machine: Mapping[str, Any]) -> list[str]:
    """What keeps a contestant from what the processor can, a sentence each."""
    chosen = machine.get("settings", {}).get("OPENBLAS_CORETYPE")
    note = (
        f"OPENBLAS_CORETYPE={chosen} has chosen the kernels of NumPy's and SciPy's products, which may be slower than "
        "those that OpenBLAS would choose for this processor; unset it to measure what the processor can"
    )
    return [] if chosen is None else [note]


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
