"""What has changed between two results, beyond noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_mlp.benchmark.results import Result
from gpu_mlp.benchmark.timing import Seconds, interval, resampled_medians

__all__ = ["Change", "Factor", "compare_results", "noted_differences"]

# Between two runs a machine's clock and neighbours change by more than within one: what is below this is no change.
SMALLEST_CHANGE = 0.1


@dataclass(frozen=True)
class Factor:
    """A ratio of medians with a 95 % bootstrap interval."""

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


@dataclass(frozen=True)
class Change:
    """The time of a contestant in a case, new over old.

    own: by itself. others: of the others in the same case, whose rounds were in turn with its own, and which therefore
    tell what the machine was like. beside_others: its own over theirs. Without others the last two are None.
    """

    key: str
    contestant: str
    own: Factor
    others: Factor | None = None
    beside_others: Factor | None = None

    @property
    def verdict(self) -> str:
        """ "slower" or "faster" where its own time says so, else "same"; "machine" where the others' say it as well.

        Unless it has changed beside theirs by more than theirs have.
        """
        found = self.own.verdict
        if (
            found == "same"
            or self.others is None
            or self.beside_others is None
            or self.others.verdict != found
        ):
            return found
        is_its_own = abs(math.log(self.beside_others.ratio)) > abs(math.log(self.others.ratio))
        return found if is_its_own and self.beside_others.verdict == found else "machine"

    @property
    def is_regression(self) -> bool:
        """Whether it is gpu_mlp that became slower."""
        return self.verdict == "slower" and self.contestant.startswith("gpu_mlp")


def compare_results(old: Result, new: Result) -> list[Change]:
    """Every contestant of every case that both results have."""
    rows = {row["key"]: row for row in old.rows}
    changes = []
    for row in new.rows:
        before, after = _seconds(rows.get(row["key"], {"contestants": {}})), _seconds(row)
        both = [name for name in after if name in before]
        changes += [_change(row["key"], name, before, after, both) for name in both]
    return changes


def _seconds(row: dict[str, Any]) -> dict[str, Seconds]:
    return {name: np.array(each["seconds"]) for name, each in row["contestants"].items()}


def _change(
    key: str, name: str, before: dict[str, Seconds], after: dict[str, Seconds], both: list[str]
) -> Change:
    own = _factor(before[name], after[name])
    others = [other for other in both if other != name]
    if not others:
        return Change(key, name, own)
    was, now = (_mean_of([each[other] for other in others]) for each in (before, after))
    return Change(key, name, own, _factor(was, now), _factor(before[name] / was, after[name] / now))


def _mean_of(seconds: list[Seconds]) -> Seconds:
    """Geometric, in every round."""
    mean: Seconds = np.exp(np.mean(np.log(seconds), axis=0))
    return mean


def _factor(old: Seconds, new: Seconds) -> Factor:
    rng = np.random.default_rng(0)
    before, after = (resampled_medians(seconds, rng) for seconds in (old, new))
    return Factor(float(np.median(new) / np.median(old)), *interval(after / before))


def noted_differences(old: Result, new: Result) -> list[str]:
    """What of the machine and the method is not the same, a sentence each: times are then not to be compared."""
    pairs: list[tuple[str, Any, Any]] = [
        (name, old.machine.get(name), new.machine.get(name))
        for name in ("processor", "processors", "threads", "system", "python", "blas", "settings")
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
