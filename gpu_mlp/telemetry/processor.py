"""The process and the processor: memory, time, and energy where the system tells it."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from gpu_mlp.telemetry.measures import Reading

__all__ = ["ProcessorMeter"]

# Whole packages; their parts (cores, memory) have a second number.
PACKAGE = re.compile(r"intel-rapl:\d+")


class ProcessorMeter:
    """This process, and the energy of all processor packages.

    resident_bytes: of the process's memory (on Linux).
    cpu_seconds: of all its threads.
    cpu_energy_joules: of the packages, by their running average power limit counters; left out where nobody may read
        them, as is usual for users that are not root.
    """

    def __init__(
        self, system: Path = Path("/sys/class/powercap"), process: Path = Path("/proc/self")
    ) -> None:
        self._statm = process / "statm"
        self._counters = [
            _Counter(folder) for folder in _packages(system) if _Counter(folder).read() is not None
        ]

    def read(self) -> Reading:
        """The measures at this moment."""
        found: dict[str, float | str] = {"cpu_seconds": time.process_time()}
        with suppress(OSError, ValueError, IndexError, AttributeError):
            pages = int(self._statm.read_text(encoding="ascii").split()[1])
            found["resident_bytes"] = float(pages * os.sysconf("SC_PAGE_SIZE"))
        energies = [counter.read() for counter in self._counters]
        if energies and None not in energies:
            found["cpu_energy_joules"] = sum(energy for energy in energies if energy is not None)
        return found

    def close(self) -> None:
        """Nothing to be done."""


class _Counter:
    """The energy of one package, in joules, counted on where the counter begins anew."""

    def __init__(self, folder: Path) -> None:
        self._file, self._range = folder / "energy_uj", folder / "max_energy_range_uj"
        self._last, self._turns = 0, 0

    def read(self) -> float | None:
        """Since it was first read and before; None where it cannot be read."""
        try:
            now = int(self._file.read_text(encoding="ascii"))
            if now < self._last:
                self._turns += int(self._range.read_text(encoding="ascii")) + 1
        except (OSError, ValueError):
            return None
        self._last = now
        return (self._turns + now) / 1e6


def _packages(system: Path) -> list[Path]:
    try:
        return sorted(folder for folder in system.iterdir() if PACKAGE.fullmatch(folder.name))
    except OSError:
        return []
