"""What a result must be read with: when, on which machine, with which versions, at which commit."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from gpu_mlp.benchmark.machine import installed_versions, processor_name

__all__ = ["stamp"]

PACKAGES = (
    "numpy",
    "scipy",
    "pyarrow",
    "scikit-learn",
    "skorch",
    "numba",
    "ml_dtypes",
    "torch",
    "triton",
    "jax",
    "jaxlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvmath-python",
    "nvidia-cublas",
)


def stamp() -> dict[str, Any]:
    """Date, processor, operating system, versions, BLAS libraries and the commit, marked where files differ from it."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": f"{os.cpu_count()} x {processor_name()}",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **installed_versions(PACKAGES)},
        "blas": _blas(),
        "commit": _commit(),
    }


def _blas() -> list[str]:
    """Every BLAS that is loaded, with its kernels and threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [
        f"{info['internal_api']} {info['version']} ({info.get('architecture', '?')}, {info['num_threads']} threads)"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]


def _commit() -> str:
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)
        except OSError:  # no git here
            return ""
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{commit or 'unknown'}{'+changes' if changed else ''}"
