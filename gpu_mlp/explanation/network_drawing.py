"""The network as SVG: a column of units for every layer, and lines for the weights between them.

Everything that a step can light up has the keys of its quantities in data-keys; a unit has its place in data-unit.
"""

from __future__ import annotations

from html import escape

import numpy as np

from gpu_mlp.explanation.folding import Fold, fold
from gpu_mlp.explanation.steps import Walk
from gpu_mlp.explanation.written_as_text import as_text

__all__ = ["MOST_UNITS", "draw_network"]

MOST_UNITS = 10
RADIUS, STEP_X, STEP_Y = 19, 150, 44
MARGIN_X, TOP, BOTTOM = 60, 64, 52
THICKEST = 3.5


def draw_network(walk: Walk, name: str) -> str:
    """Large layers with some units only, and how many there are below."""
    layers = sum(key.startswith("f_") for key in walk.quantities)
    axis = 0 if walk.notation.columns else 1
    sizes = [walk.quantities[key].shape[axis] for key in ("h_0", *(f"f_{k}" for k in range(layers)))]
    columns = [fold(size, MOST_UNITS) for size in sizes]
    height = TOP + BOTTOM + STEP_Y * max(_places(column) for column in columns)
    width = 2 * MARGIN_X + STEP_X * layers + STEP_X
    parts = [_edges(walk, k, columns, height) for k in range(layers)]
    parts += [_column(walk, number, column, height, layers) for number, column in enumerate(columns)]
    parts.append(_loss(layers, height, columns[-1]))
    label = escape(f"the network {name}: layers of {', '.join(map(str, sizes))} units")
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _places(column: Fold) -> int:
    """The units, and a gap where some are left out."""
    return len(column.shown) + (column.left_out > 0)


def _x(number: int) -> int:
    return MARGIN_X + STEP_X * number


def _ys(column: Fold, height: int) -> list[float]:
    """Of the units shown, in the middle of the height."""
    middle = (TOP + height - BOTTOM) / 2
    places = list(range(len(column.shown)))
    if column.left_out:
        places[-1] += 1
    return [middle + STEP_Y * (place - (_places(column) - 1) / 2) for place in places]


def _edges(walk: Walk, k: int, columns: list[Fold], height: int) -> str:
    """A line for every weight between units that are shown, thicker for a larger one."""
    omega = walk.quantities[f"omega_{k}"].values
    below, above = columns[k], columns[k + 1]
    largest = float(np.max(np.abs(omega))) or 1.0
    lines = [
        f'<line x1="{_x(k) + RADIUS}" y1="{y_below:.1f}" x2="{_x(k + 1) - RADIUS}" y2="{y_above:.1f}" '
        f'stroke-width="{0.5 + THICKEST * abs(float(omega[o, i])) / largest:.2f}"/>'
        for o, y_above in zip(above.shown, _ys(above, height), strict=True)
        for i, y_below in zip(below.shown, _ys(below, height), strict=True)
    ]
    return f'<g class="edges" data-keys="omega_{k} dl_domega_{k}">{"".join(lines)}</g>'


def _column(walk: Walk, number: int, column: Fold, height: int, layers: int) -> str:
    x, ys = _x(number), _ys(column, height)
    keys = ["h_0"] if number == 0 else _keys_of(number - 1, last=number == layers)
    symbol = as_text(walk.quantities[keys[0]].symbol)
    units = [
        f'<g class="unit" data-unit="{unit}"><circle cx="{x}" cy="{y:.1f}" r="{RADIUS}"/>'
        f'<text x="{x}" y="{y + 4:.1f}"></text></g>'
        for unit, y in zip(column.shown, ys, strict=True)
    ]
    if column.left_out:
        units.append(
            f'<text class="gap" x="{x}" y="{(ys[-2] + ys[-1]) / 2 + 5:.1f}">\N{VERTICAL ELLIPSIS}</text>'
        )
    count = f"{column.size} unit{'s' if column.size > 1 else ''}"
    drawn = f"{len(column.shown)} of them drawn" if column.left_out else ""
    return (
        f'<g class="column" data-keys="{" ".join(keys)}"><text class="symbol" x="{x}" y="26">{escape(symbol)}</text>'
        f'{"".join(units)}<text class="count" x="{x}" y="{height - 26}">{count}</text>'
        f'<text class="count" x="{x}" y="{height - 10}">{drawn}</text></g>'
    )


def _keys_of(k: int, *, last: bool) -> list[str]:
    """Of the quantities that the units of layer k have."""
    inner = [f"h_{k + 1}", f"dl_dh_{k + 1}", f"slope_{k}"]
    return [f"f_{k}", *(["p"] if last else inner), f"dl_df_{k}", f"beta_{k}", f"dl_dbeta_{k}"]


def _loss(layers: int, height: int, outputs: Fold) -> str:
    x, middle = _x(layers + 1), (TOP + height - BOTTOM) / 2
    lines = "".join(
        f'<line x1="{_x(layers) + RADIUS}" y1="{y:.1f}" x2="{x - RADIUS}" y2="{middle:.1f}" stroke-width="1"/>'
        for y in _ys(outputs, height)
    )
    return (
        f'<g class="edges loss" data-keys="loss">{lines}</g>'
        f'<g class="column" data-keys="loss y"><text class="symbol" x="{x}" y="26">L</text>'
        f'<g class="unit" data-unit="0"><circle cx="{x}" cy="{middle:.1f}" r="{RADIUS}"/>'
        f'<text x="{x}" y="{middle + 4:.1f}"></text></g></g>'
    )
