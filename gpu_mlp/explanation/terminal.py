"""An explanation for a terminal: plain text of at most 100 columns, to be read from the top."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from gpu_mlp.explanation.expressions import Transposed
from gpu_mlp.explanation.folding import fold_matrix
from gpu_mlp.explanation.names import listed
from gpu_mlp.explanation.numbers import number
from gpu_mlp.explanation.quantities import Quantity
from gpu_mlp.explanation.steps import Step, Walk
from gpu_mlp.explanation.story import (
    CHAIN,
    PARTS,
    Shown,
    check_lines,
    composition_text,
    cost_lines,
    first_quirk,
    opening,
    products_that_fit,
    second_quirk,
    shape_rows,
)
from gpu_mlp.explanation.walkthrough import Walkthrough
from gpu_mlp.explanation.written_as_text import as_text

__all__ = ["as_terminal"]

WIDTH = 100
INDENT = 4
MOST_ROWS, MOST_COLUMNS, MOST_SLICES = 8, 8, 4
NUMBER_WIDTH = 9


def as_terminal(walkthrough: Walkthrough) -> str:
    """Headings in capitals; every matrix where it first occurs, and later only the step that computed it."""
    lines = list(_head(walkthrough))
    seen: set[str] = set()
    part = ""
    for step in walkthrough.walk.steps:
        if step.part != part:
            part = step.part
            title, text = PARTS[part]
            lines += ["", title.upper(), *_wrapped(text)]
            if part == "backward" and walkthrough.walk.chain is not None:
                lines += [*_wrapped(CHAIN), *_wrapped(as_text(walkthrough.walk.chain), INDENT)]
        lines += ["", *_step(step, walkthrough.walk, seen)]
    lines += _gradients(walkthrough) + _quirks(walkthrough) + _cost(walkthrough) + _check(walkthrough)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _head(walkthrough: Walkthrough) -> Iterator[str]:
    yield from _wrapped(opening(walkthrough))
    yield ""
    yield "THE NETWORK AS FUNCTIONS WITHIN FUNCTIONS"
    yield from _wrapped(as_text(walkthrough.walk.composition), INDENT)
    yield from _wrapped(composition_text(walkthrough))


def _step(step: Step, walk: Walk, seen: set[str]) -> Iterator[str]:
    yield f"{step.number:>2}  {step.title}"
    yield from _wrapped(as_text(step.equation), INDENT)
    if step.rule is not None:
        yield from _wrapped(f"where {as_text(step.rule)}", INDENT)
    yield from _wrapped(step.remark, INDENT)
    result = walk.quantities[step.result]
    shapes = [f"{as_text(factor.symbol)} {factor.shape}" for factor in step.factors]
    yield from _wrapped(f"shapes: {as_text(result.symbol)} {result.shape} from {', '.join(shapes)}", INDENT)
    for factor in step.factors:
        quantity = walk.quantities[factor.key]
        role = ", kept" if factor.role == "kept" else f", the {factor.role}" if factor.role else ""
        if factor.key in seen:
            yield from _wrapped(f"{as_text(factor.symbol)}{role}, {_origin(quantity)}", INDENT)
            continue
        seen.add(factor.key)
        yield from _matrix(quantity, role)
    seen.add(step.result)
    yield from _matrix(result)


def _origin(quantity: Quantity) -> str:
    return "given above" if quantity.step is None else f"already computed in step {quantity.step}"


def _matrix(quantity: Quantity, role: str = "") -> Iterator[str]:
    """Its numbers beside its symbol; a column is laid down as a row."""
    rows, columns = quantity.shape
    is_turned = columns == 1 and rows > 1
    symbol = Transposed(quantity.symbol) if is_turned else quantity.symbol
    yield from _wrapped(f"{as_text(quantity.symbol)}, {quantity.name}{role}:", INDENT)
    if quantity.unit_names:
        yield from _wrapped(f"units: {listed(quantity.unit_names)}", INDENT)
    yield from _grid(quantity.values.T if is_turned else quantity.values, f"{as_text(symbol)} = ")


def _grid(values: NDArray[Any], label: str) -> Iterator[str]:
    room, size = WIDTH - INDENT - len(label), values.shape[1]
    most = min(MOST_COLUMNS, room // (NUMBER_WIDTH + 1))
    if size > most:
        most = min(MOST_COLUMNS, (room - len(f"... {size} more ... ")) // (NUMBER_WIDTH + 1))
    folded = fold_matrix(values, MOST_ROWS, most)
    gap = f"... {folded.columns.left_out} more ..."
    start = label
    for line in folded.lines:
        if line is None:
            yield f"{' ' * (INDENT + len(label))}... {folded.rows.left_out} more rows ..."
            continue
        cells = (gap if value is None else number(value).rjust(NUMBER_WIDTH) for value in line)
        yield f"{' ' * INDENT}{start}{' '.join(cells)}"
        start = " " * len(label)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        " " * INDENT
        + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _gradients(walkthrough: Walkthrough) -> list[str]:
    rows = [["", "shape", "", "shape"]]
    for quantity, gradient in shape_rows(walkthrough):
        pair = as_text(quantity.symbol), str(quantity.shape), as_text(gradient.symbol), str(gradient.shape)
        rows.append(list(pair))
    return ["", "EVERYTHING HAS A GRADIENT OF ITS OWN SHAPE", *_table(rows)]


def _quirks(walkthrough: Walkthrough) -> list[str]:
    text, slices, sums = first_quirk(walkthrough, MOST_SLICES)
    lines = ["", "THE FIRST QUIRK: AN OUTER PRODUCT", *_wrapped(text)]
    lines += [line for each in slices for line in _shown(each)]
    left_out = len(walkthrough.quirks.by_omega) - len(slices)
    if left_out:
        lines.append(f"{' ' * INDENT}... {left_out} more slices ...")
    lines += [line for each in sums for line in _shown(each)]
    text, matrices = second_quirk(walkthrough)
    lines += ["", "THE SECOND QUIRK: A TRANSPOSE", *_wrapped(text)]
    lines += [line for each in matrices for line in _shown(each)]
    lines += _table(products_that_fit(walkthrough))
    difference = walkthrough.quirks.largest_difference
    return [
        *lines,
        *_wrapped(f"The largest difference between the long forms and the short ones is {difference:.1e}."),
    ]


def _shown(matrix: Shown) -> Iterator[str]:
    rows, columns = matrix.values.shape
    is_turned = columns == 1 and rows > 1
    symbol = (
        f"({as_text(matrix.symbol)})\N{MODIFIER LETTER CAPITAL T}" if is_turned else as_text(matrix.symbol)
    )
    words = f", {matrix.words}" if matrix.words else ""
    return _grid(matrix.values.T if is_turned else matrix.values, f"{symbol}{words} = ")


def _cost(walkthrough: Walkthrough) -> list[str]:
    text, rows = cost_lines(walkthrough)
    return ["", "WHAT THE BRACKETS SAVE", *_wrapped(text), *_table(rows)]


def _check(walkthrough: Walkthrough) -> list[str]:
    text, rows = check_lines(walkthrough)
    return ["", "HELD AGAINST FINITE DIFFERENCES", *_wrapped(text), *_table(rows)]
