"""A pytest plugin for runs under compute-sanitizer: every array is an allocation of its own, not part of a pool's."""

from __future__ import annotations

from typing import Any


def pytest_configure(config: Any) -> None:
    """Where CuPy is installed."""
    try:
        import cupy
    except ImportError:
        return
    cupy.cuda.set_allocator(None)
