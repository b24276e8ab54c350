"""Copies within the host's memory, where every call is done when it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.graphs_and_copies import Mark

__all__ = ["CopiesAtOnce"]


class CopiesAtOnce:
    """`graphs_and_copies.Copies` where nothing runs beside anything else: every mark is reached already."""

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Any memory will do."""
        return np.empty(shape, dtype)

    def start(self, pairs: Sequence[tuple[np.ndarray[Any, Any], Array]], after: Mark) -> Mark:
        """Copy them now."""
        for source, target in pairs:
            target[...] = source
        return None

    def computed(self) -> Mark:
        """Reached already."""
        return None

    def hold_computing(self, until: Mark) -> None:
        """It is done already."""

    def wait_here(self, until: Mark) -> None:
        """It is done already."""
