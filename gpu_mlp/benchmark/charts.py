"""Charts as SVG, drawn with the page's own colours so that they are readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "Point", "bars", "lines"]

WIDTH, BAR, GAP, LABEL, RIGHT = 760, 18, 14, 210, 150
HEIGHT, LEFT, BOTTOM, TOP, MARGIN = 360, 74, 44, 14, 20
COLOURS = 6  # of the page's style: series-0 ... series-5


@dataclass(frozen=True)
class Point:
    """x and y > 0, and what is said of it."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Line:
    """A series: its name, its points from left to right, and whether a line joins them or each has a mark."""

    name: str
    points: Sequence[Point]
    joined: bool = True
    marked: bool = True


def bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]) -> str:
    """Horizontal bars, as long as their part of the group's longest: name, value > 0, and what stands beside it."""
    names = list(dict.fromkeys(name for _, group in groups for name, _, _ in group))
    parts, y = [], 8.0
    for heading, group in groups:
        parts.append(f'<text class="heading" x="0" y="{y + 12:.0f}">{escape(heading)}</text>')
        y += 22
        longest = max((value for _, value, _ in group), default=1.0)
        for name, value, beside in group:
            width = (WIDTH - LABEL - RIGHT) * value / longest
            parts.append(
                f'<text x="{LABEL - 8}" y="{y + 13:.0f}" text-anchor="end">{escape(name)}</text>'
                f'<rect class="series-{names.index(name) % COLOURS}" x="{LABEL}" y="{y:.0f}" '
                f'width="{max(width, 1):.1f}" height="{BAR}" rx="2"><title>{escape(f"{name}: {beside}")}</title></rect>'
                f'<text x="{LABEL + width + 8:.1f}" y="{y + 13:.0f}">{escape(beside)}</text>'
            )
            y += BAR + 4
        y += GAP
    return _svg(title, y, "".join(parts))


def lines(title: str, x_title: str, y_title: str, series: Sequence[Line]) -> str:
    """Both axes logarithmic, with a legend under them."""
    points = [point for line in series for point in line.points]
    x_low, x_high = _decades([point.x for point in points])
    y_low, y_high = _decades([point.y for point in points])

    def at(point: Point) -> tuple[float, float]:
        across = (math.log10(point.x) - x_low) / (x_high - x_low)
        up = (math.log10(point.y) - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - MARGIN), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    parts = [_axes(x_title, y_title, (x_low, x_high), (y_low, y_high))]
    for number, line in enumerate(series):
        colour, places = f"series-{number % COLOURS}", [at(point) for point in line.points]
        if line.joined and len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="{colour} line" points="{path}"/>')
        for point, (x, y) in zip(line.points, places, strict=True) if line.marked else ():
            parts.append(
                f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">'
                f"<title>{escape(point.title)}</title></circle>"
            )
    height = HEIGHT + 22 * -(-len(series) // 3)
    return _svg(title, height, "".join(parts) + _legend([line.name for line in series]))


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low = math.floor(math.log10(min(values)))
    return low, max(math.ceil(math.log10(max(values))), low + 1)


def _axes(x_title: str, y_title: str, across: tuple[int, int], up: tuple[int, int]) -> str:
    right, bottom = WIDTH - MARGIN, HEIGHT - BOTTOM
    parts = []
    for power in range(across[0], across[1] + 1):
        x = LEFT + (power - across[0]) / (across[1] - across[0]) * (right - LEFT)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_power(power)}</text>')
    for power in range(up[0], up[1] + 1):
        y = bottom - (power - up[0]) / (up[1] - up[0]) * (bottom - TOP)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_power(power)}</text>')
    parts.append(
        f'<text x="{(LEFT + right) / 2:.0f}" y="{bottom + 36}" text-anchor="middle">{escape(x_title)}</text>'
    )
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    return "".join(parts)


def _power(power: int) -> str:
    """1, 10, 100, 1k, 10k ... 1T; below 1 as a decimal."""
    if power < 0:
        return f"{10.0**power:g}"
    unit = ("", "k", "M", "G", "T", "P")[min(power // 3, 5)]
    return f"{10 ** (power - 3 * min(power // 3, 5))}{unit}"


def _legend(names: Sequence[str]) -> str:
    parts = []
    for number, name in enumerate(names):
        x, y = LEFT + 230 * (number % 3), HEIGHT + 22 * (number // 3)
        parts.append(
            f'<rect class="series-{number % COLOURS}" x="{x}" y="{y}" width="12" height="12" rx="2"/>'
        )
        parts.append(f'<text x="{x + 18}" y="{y + 11}">{escape(name)}</text>')
    return "".join(parts)


def _svg(title: str, height: float, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{content}</svg>"
    )
