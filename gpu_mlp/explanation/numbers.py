"""How a number is written where people read it; machines are given all its digits."""

from __future__ import annotations

__all__ = ["number"]


def number(value: float) -> str:
    """Four digits after the point, or a power of ten where that would hide it."""
    if value == 0.0:
        return "0.0000"  # also of -0.0
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.2e}"
