"""How a budget of memory is shared between the rows that are shuffled and those that are kept."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from gpu_mlp.errors import ConfigError

__all__ = ["MemoryBudget"]

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
SMALLEST = 32 * 10**6
AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class MemoryBudget:
    """So many bytes for rows; the program itself and its libraries are not counted.

    A tenth is one buffer of rows that are shuffled together. Three are in memory (one is trained on, one waits, one is
    being filled), and the parts of which the third is made. Three twentieths are for the rows that are kept as they
    were read (to validate, to test, and a sample of the training rows), and as many for them as the network reads them.
    The rest is for the files' blocks on their way.
    """

    bytes: int

    @classmethod
    def parse(cls, amount: Any) -> MemoryBudget:
        """Of "512MB", "1.5GiB" or a number of bytes. Raises ConfigError for what is no amount, or too little."""
        found = AMOUNT.fullmatch(str(amount))
        factor = None if found is None or isinstance(amount, bool) else UNITS.get(found[2].lower())
        if found is None or factor is None:
            raise ConfigError(f"memory is {amount!r}, but must be an amount, such as 512MB or 2GB")
        count = math.floor(float(found[1]) * factor)
        if count < SMALLEST:
            raise ConfigError(f"memory is {amount!r}, but must be at least {SMALLEST // 10**6}MB")
        return cls(count)

    def kept_rows(self, row_bytes: int) -> int:
        """How many rows of each of the three parts can be kept."""
        return max(self.bytes * 3 // 20 // 3 // row_bytes, 1)

    def buffer_rows(self, row_bytes: int, batch_size: int) -> int:
        """How many rows are shuffled together. Raises ConfigError where they are less than a batch."""
        rows = self.bytes // 10 // row_bytes
        if rows < batch_size:
            raise ConfigError(
                f"memory of {self} has room to shuffle {rows} rows of {row_bytes} bytes, less than a batch of "
                f"{batch_size}; give at least {math.ceil(10 * batch_size * row_bytes / 10**6)}MB or smaller batches"
            )
        return rows

    def check_held(self, held: int, origin: str) -> None:
        """Raise ConfigError where what a source always has in memory is too much."""
        if held > self.bytes // 2:
            raise ConfigError(
                f"{origin} is read whole, {held / 10**6:.0f} MB, but memory is {self}; store its arrays as .npy or "
                f"Parquet, or give at least {math.ceil(2 * held / 10**6)}MB"
            )

    def __str__(self) -> str:
        return f"{self.bytes / 10**6:.0f} MB" if self.bytes < 10**10 else f"{self.bytes / 10**9:.1f} GB"
