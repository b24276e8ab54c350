"""Which rows and columns of a large matrix are shown, and how the rest is counted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fold", "fold"]


@dataclass(frozen=True)
class Fold:
    """Of `size` places those at `shown` are shown; between the last two of these `left_out` are not."""

    size: int
    shown: tuple[int, ...]

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.size - len(self.shown)


def fold(size: int, most: int) -> Fold:
    """All places, or the first ones and the last, `most` in all."""
    if size <= most:
        return Fold(size, tuple(range(size)))
    return Fold(size, (*range(most - 1), size - 1))
