"""How the figures of a result's row read, in the terminal's table and in the page's."""

from __future__ import annotations

from typing import Any

__all__ = ["busy", "compared", "energy", "share_of_limit", "sizes_of", "time_of"]


def sizes_of(row: dict[str, Any]) -> str:
    """The network: "784-512-512-10"."""
    return "-".join(map(str, row["layer_sizes"]))


def time_of(seconds: float, micro: str = "us") -> str:
    """In three digits, and the unit that needs the fewest zeros."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} {micro}"


def share_of_limit(row: dict[str, Any], who: str) -> tuple[str, str] | None:
    """How near a contestant comes to what its device could do, and which limit that is; None if unknown."""
    floor = row.get("gpu_floor" if "cuda" in who else "floor")
    if floor is None:
        return None
    return f"{floor['seconds'] / row['contestants'][who]['median']:.0%}", floor["binds"]


def busy(row: dict[str, Any], who: str) -> str:
    """How many processors a contestant keeps busy on the mean; empty where that was not measured."""
    each = row["contestants"][who]
    seconds = each.get("measures", {}).get("cpu_seconds")
    return "" if seconds is None else f"{seconds / each['median']:.1f}"


def energy(row: dict[str, Any], who: str) -> str:
    """Joules for a million rows: of the GPU for who computes there, else of the processor; empty where unknown."""
    each = row["contestants"][who]
    name = "gpu_energy_joules" if "cuda" in who else "cpu_energy_joules"
    joules = each.get("measures", {}).get(name)
    return "" if joules is None else f"{joules / each['median'] / each['rows_per_second'] * 1e6:.3g} J"


def compared(row: dict[str, Any], who: str) -> list[str]:
    """Ratio, interval and verdict of a contestant; nothing in them for whom the others are held against."""
    ratio = row["ratios"].get(who)
    if ratio is None:
        return ["", "", ""]
    return [f"{ratio['ratio']:.2f}", f"{ratio['low']:.2f} to {ratio['high']:.2f}", ratio["verdict"]]
