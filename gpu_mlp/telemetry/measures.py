"""The measures by name: what one is over a stretch of time, of the readings taken in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

__all__ = ["MEASURES", "Meter", "Reading", "all_words", "summarised"]

# What a meter reads at one moment; a measure that cannot be read is left out.
Reading: TypeAlias = Mapping[str, float | str]


class Meter(Protocol):
    """Something that can be read at any time."""

    def read(self) -> Reading:
        """The measures at this moment; costs some microseconds, waits for nothing and raises nothing."""

    def close(self) -> None:
        """Not read again."""


# name: "mean", "largest", "grown" (the difference between the last and the first), or "all" that occurred.
MEASURES = {
    "gpu_utilisation_percent": "mean",
    "gpu_memory_bytes": "largest",
    "gpu_power_watts": "mean",
    "gpu_energy_joules": "grown",
    "gpu_temperature_celsius": "largest",
    "gpu_clock_mhz": "mean",
    "gpu_throttled": "all",
    "resident_bytes": "largest",
    "cpu_seconds": "grown",
    "cpu_energy_joules": "grown",
}


def all_words(values: Iterable[float | str]) -> str:
    """The words that occur in any of them, with + between them as in each."""
    return "+".join(sorted({word for value in values for word in str(value).split("+") if word}))


def summarised(readings: Sequence[Reading]) -> dict[str, float | str]:
    """Every measure over the stretch between the first reading and the last, both included, in the order of `MEASURES`.

    A measure that grows needs two readings; one that was never read is left out.
    """
    found: dict[str, float | str] = {}
    for name, kind in MEASURES.items():
        values = [reading[name] for reading in readings if name in reading]
        numbers = [value for value in values if not isinstance(value, str)]
        if kind == "all" and values:
            found[name] = all_words(values)
        elif kind == "mean" and numbers:
            found[name] = sum(numbers) / len(numbers)
        elif kind == "largest" and numbers:
            found[name] = max(numbers)
        elif kind == "grown" and len(numbers) > 1:
            found[name] = numbers[-1] - numbers[0]
    return found
