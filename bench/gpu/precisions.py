"""What lies in memory in each precision, and the part of a backend that works in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from gpu.problems import Precision
from gpu_mlp.backends.base import ROUNDED_PRECISIONS
from gpu_mlp.backends.cuda_kernels import numpy_type

__all__ = ["PRECISIONS", "Types", "in_precision", "types_of"]

# The default first.
PRECISIONS: Sequence[Precision] = ("float32", "bf16", "tf32", "fp16", "float64")


class Types(NamedTuple):
    """Of what products read and hidden layers hold, and of parameters, their gradients and the last layer's output."""

    factors: np.dtype[Any]
    results: np.dtype[Any]


def types_of(precision: str) -> Types:
    """Raises DeviceError for bf16 where ml_dtypes is not installed."""
    if precision in ("bf16", "fp16"):
        return Types(numpy_type(precision), np.dtype(np.float32))
    dtype = np.dtype(np.float64 if precision == "float64" else np.float32)
    return Types(dtype, dtype)


class _HasPrecisions(Protocol):
    @property
    def in_precision(self) -> Any: ...


T = TypeVar("T", bound=_HasPrecisions)


def in_precision(of: T, precision: str) -> T:
    """A backend or its products, as they round to a precision or, where it is a network's own type, as they are."""
    if precision not in ROUNDED_PRECISIONS:
        return of
    rounded: T = of.in_precision(precision)
    return rounded
