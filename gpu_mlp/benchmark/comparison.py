"""What has changed between two results, beyond noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_mlp.benchmark.results import Result
from gpu_mlp.benchmark.timing import interval, resampled_medians

__all__ = ["Change", "compare_results", "noted_differences"]

# Between two runs a machine's clock and neighbours change by more than within one: what is below this is no change.
SMALLEST_CHANGE = 0.1


@dataclass(frozen=True)
class Change:
    """The time of a contestant in a case, new over old: the ratio of the medians with a 95 % bootstrap interval."""

    key: str
    contestant: str
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "slower" or "faster" where the interval excludes 1 and the change is at least a tenth, else "same"."""
        if self.low > 1.0 and self.ratio >= 1.0 + SMALLEST_CHANGE:
            return "slower"
        if self.high < 1.0 and self.ratio <= 1.0 / (1.0 + SMALLEST_CHANGE):
            return "faster"
        return "same"

    @property
    def is_regression(self) -> bool:
        """Whether it is gpu_mlp that became slower."""
        return self.verdict == "slower" and self.contestant.startswith("gpu_mlp")


def compare_results(old: Result, new: Result) -> list[Change]:
    """Every contestant of every case that both results have."""
    before = {row["key"]: row["contestants"] for row in old.rows}
    return [
        _change(row["key"], name, before[row["key"]][name]["seconds"], measured["seconds"])
        for row in new.rows
        for name, measured in row["contestants"].items()
        if name in before.get(row["key"], {})
    ]


def _change(key: str, name: str, old: list[float], new: list[float]) -> Change:
    rng = np.random.default_rng(0)
    before, after = (resampled_medians(np.array(seconds), rng) for seconds in (old, new))
    return Change(key, name, float(np.median(new) / np.median(old)), *interval(after / before))


def noted_differences(old: Result, new: Result) -> list[str]:
    """What of the machine and the method is not the same, a sentence each: times are then not to be compared."""
    pairs: list[tuple[str, Any, Any]] = [
        (name, old.machine.get(name), new.machine.get(name))
        for name in ("processor", "processors", "threads", "system", "python", "blas")
    ]
    versions = old.machine.get("versions", {}), new.machine.get("versions", {})
    names = sorted(versions[0].keys() & versions[1].keys())
    pairs += [(f"version of {name}", versions[0][name], versions[1][name]) for name in names]
    notes = [f"{name} was {was}, and is {now}" for name, was, now in pairs if was != now]
    return notes + [
        f"the {which} result is unfinished"
        for which, result in (("old", old), ("new", new))
        if not result.finished
    ]
