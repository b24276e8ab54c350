"""Memory for a primitive's outputs that shows what was left unwritten and what was written beyond the end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

GUARD = 64  # elements before and after
SENTINEL = 77


class GuardedMemory:
    """Makes arrays full of NaN (for integers: of a number no test expects), each between two guard zones."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._blocks: list[Any] = []

    def __call__(self, *shape: int, dtype: Any = np.float64) -> Any:
        """A C-contiguous array of this shape."""
        size = math.prod(shape)
        block = self._xp.full(size + 2 * GUARD, SENTINEL, dtype)
        self._blocks.append(block)
        view = block[GUARD : GUARD + size]
        view[...] = math.nan if np.dtype(dtype).kind in "fc" else 99
        return view.reshape(shape)

    def check(self) -> None:
        """Fail where a guard zone was written to."""
        for number, block in enumerate(self._blocks):
            for side, zone in (("before", block[:GUARD]), ("after", block[-GUARD:])):
                assert bool((zone == block.dtype.type(SENTINEL)).all()), (
                    f"array {number} was written to {side} its memory"
                )
