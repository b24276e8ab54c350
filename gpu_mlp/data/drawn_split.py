"""`DrawnSplit`: which part each row of a source belongs to, by one random number a row and no list of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLE", "TEST", "TRAIN", "VALIDATION", "DrawnSplit"]

TRAIN, VALIDATION, TEST, SAMPLE = range(4)

# The second word of the generator's key; the first is the seed.
STREAM = 0x73706C6974
# At the end of all intervals.
LARGEST = 1.0 - 2.0**-53
NUMBERS_AT_ONCE = 4  # that the generator draws for one count of its counter


@dataclass(frozen=True)
class DrawnSplit:
    """Row r has the number u_r in [0, 1), the r-th of NumPy's Philox for the seed. The shares are of the validation
    rows, of the test rows and, among those that train, of a sample that is kept to look at; their intervals begin at 0,
    where the validation's ends, and where the test's ends. Of each interval the first `kept` of its length is the part;
    all other rows train.

    The same seed gives the same parts however the rows are read.

    first_of_class: rows that train whatever their number, so that no class is held out as a whole.
    """

    seed: int
    validation: float
    test: float
    kept: tuple[float, float, float] = (1.0, 1.0, 1.0)
    first_of_class: tuple[int, ...] = ()

    def numbers(self, first: int, count: int) -> NDArray[np.float64]:
        """u of `count` rows from row `first` on; the largest number for those that train in any case."""
        skipped = first % NUMBERS_AT_ONCE
        bits = np.random.Philox(
            key=np.array([self.seed, STREAM], np.uint64), counter=first // NUMBERS_AT_ONCE
        ).random_raw(skipped + count)
        # 53 bits, all that a float64 in [0, 1) can tell apart.
        numbers: NDArray[np.float64] = (np.asarray(bits)[skipped:] >> np.uint64(11)).astype(np.float64)
        numbers *= 2.0**-53
        for row in self.first_of_class:
            if first <= row < first + count:
                numbers[row - first] = LARGEST
        return numbers

    def parts(self, numbers: NDArray[np.float64]) -> NDArray[np.int8]:
        """VALIDATION, TEST, SAMPLE or TRAIN of rows with these numbers."""
        starts = np.array([0.0, self.validation, self.validation + self.test, 1.0])
        ends = starts[:-1] + np.diff(starts) * self.kept
        edges = np.column_stack([starts[:-1], ends]).ravel()
        place = np.searchsorted(edges, numbers, side="right") - 1
        return np.array([VALIDATION, TRAIN, TEST, TRAIN, SAMPLE, TRAIN], np.int8)[place]

    def at_most(self, share: float) -> DrawnSplit:
        """With no part larger than this share of all rows."""
        shares = (self.validation, self.test, 1.0 - self.validation - self.test)
        kept = [
            min(kept, share / whole) if whole > 0.0 else 1.0
            for kept, whole in zip(self.kept, shares, strict=True)
        ]
        return replace(self, kept=(kept[0], kept[1], kept[2]))
