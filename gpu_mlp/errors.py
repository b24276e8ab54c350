"""Every exception of the package: one family, each also the built-in error a caller would expect.

Each message is one sentence that says what was given, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "GpuMlpError",
    "ModelFileError",
    "RunFolderError",
    "ShapeError",
    "WriteError",
    "did_you_mean",
]


class GpuMlpError(Exception):
    """Base of every error the package raises on purpose."""


class DataError(GpuMlpError, ValueError):
    """A table, a column or a target cannot be used as given."""


class ShapeError(GpuMlpError, ValueError):
    """An array does not have the shape or the dtype the network expects."""


class ConfigError(GpuMlpError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""


class DeviceError(GpuMlpError, RuntimeError):
    """The device that was asked for cannot be used."""


class ModelFileError(GpuMlpError, ValueError):
    """A model file is missing, damaged, or was not written by this package."""


class RunFolderError(GpuMlpError, RuntimeError):
    """A run folder cannot be created or written."""


class WriteError(RunFolderError):
    """What a run has learnt cannot be written: there is no room, or no longer the permission."""


class DivergenceError(GpuMlpError, ArithmeticError):
    """The loss stopped being finite.

    `step` counts the training steps from 1; `layer` is the first layer k whose pre-activations f_k, or whose
    parameters after that step, are not finite, or None where all of them are and the loss itself overflowed.
    """

    def __init__(self, message: str, *, step: int, layer: int | None) -> None:
        super().__init__(message)
        self.step = step
        self.layer = layer


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as the end of a sentence: `; did you mean 'relu'?`, or the list of names."""
    names = list(known)
    # Of two names both are said: the nearer spelling may be the other meaning, as float64 is for float16.
    nearest = get_close_matches(name, names, n=1, cutoff=0.6) if len(names) > 2 else []
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; choose one of {', '.join(names)}"
