"""How long what may take: a deadline for all, a limit for each, and a reserve for what comes after."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Budget", "Share", "limit_of"]


@dataclass
class Budget:
    """So many seconds from now on."""

    seconds: float
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    def left(self) -> float:
        """Seconds until the end, not below 0."""
        return max(0.0, self._end - self.clock())


@dataclass(frozen=True)
class Share:
    """What a stage takes of the time: at most `most` seconds, and `least` are kept for it by those before it."""

    most: float
    least: float


def limit_of(share: Share, later: Sequence[Share], left: float) -> float:
    """How long a stage may run now: its most, as far as the least of all later ones leaves it."""
    return max(0.0, min(share.most, left - sum(each.least for each in later)))
