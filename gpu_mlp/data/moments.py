"""The mean and the standard deviation of numbers that come some at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]


@dataclass(frozen=True)
class Moments:
    """Of n numbers: their mean, their extremes, and the sum of their squared deviations.

    The last is kept as unit^2 * squares, with the largest deviation so far as the unit, so that no square overflows
    or underflows. Two parts a, b of n_a and n_b numbers are added by, with d = mean_b - mean_a and n = n_a + n_b,

        mean = mean_a + d n_b / n,     M2 = M2_a + M2_b + d^2 n_a n_b / n

    (Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979).
    """

    count: int = 0
    mean: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    unit: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Moments:
        """Of finite numbers (n,)."""
        if not len(values):
            return cls()
        mean = float(values.mean())
        deviations = np.abs(values - mean)
        unit = float(deviations.max())
        squares = float(np.square(deviations / unit).sum()) if unit > 0.0 else 0.0
        return cls(len(values), mean, float(values.min()), float(values.max()), unit, squares)

    @classmethod
    def repeated(cls, value: float, count: int) -> Moments:
        """Of one number so many times."""
        return cls(count, value, value, value) if count else cls()

    def __add__(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        distance = other.mean - self.mean
        unit = max(self.unit, other.unit, abs(distance))
        squares = 0.0
        if unit > 0.0:
            between = (distance / unit) ** 2 * self.count * (other.count / count)
            squares = (
                self.squares * (self.unit / unit) ** 2 + other.squares * (other.unit / unit) ** 2 + between
            )
        return Moments(
            count,
            self.mean + distance * (other.count / count),
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            unit,
            squares,
        )

    @property
    def mean_and_scale(self) -> tuple[float, float]:
        """The mean and the population standard deviation; of a constant, itself and 1."""
        if self.smallest == self.largest:  # their rounded mean may differ from them
            return self.smallest, 1.0
        return self.mean, self.unit * math.sqrt(self.squares / self.count) or 1.0
