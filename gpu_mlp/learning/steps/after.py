"""What steps on the way tell: how many are done; and what they may hear: that those are enough."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

__all__ = ["After", "Told"]

# Called with the number of steps done, or launched, so far; where it returns True the rest is left.
After: TypeAlias = Callable[[int], "bool | None"]


class Told:
    """Tells `after` of steps that come in parts, and remembers whether it had enough."""

    def __init__(self, after: After) -> None:
        self._after = after
        self.enough = False

    def counting_from(self, first: int) -> After:
        """For a part whose first step is number `first` of the whole."""
        return partial(self._tell, first)

    def _tell(self, first: int, done: int) -> bool:
        self.enough = bool(self._after(first + done))
        return self.enough
