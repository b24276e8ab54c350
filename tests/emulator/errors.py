"""What the emulator raises where a kernel cannot be compiled or did something that CUDA forbids."""

from __future__ import annotations

__all__ = ["EmulatorError"]


class EmulatorError(RuntimeError):
    """A kernel that does not compile, or one that broke a rule; the message names its line."""
