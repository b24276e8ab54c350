"""An explanation as one HTML file: the network, every step, and every matrix, with nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from gpu_mlp.explanation.folding import Fold, fold, fold_matrix
from gpu_mlp.explanation.network_drawing import draw_network
from gpu_mlp.explanation.numbers import number
from gpu_mlp.explanation.quantities import Quantity
from gpu_mlp.explanation.steps import Factor, Step, Walk
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
from gpu_mlp.explanation.written_in_mathml import as_mathml

__all__ = ["as_page"]

MOST_ROWS, MOST_COLUMNS, MOST_SAMPLES = 12, 12, 64
MOST_SLICES = 4


def as_page(walkthrough: Walkthrough) -> str:
    """The whole page. Names that come from a file are escaped, in the text and in the script's data."""
    name = escape(walkthrough.name)
    home = files("gpu_mlp.explanation")
    style, script = (home.joinpath(file).read_text(encoding="utf-8") for file in ("page.css", "page.js"))
    sections = [
        _player(walkthrough),
        _chain(walkthrough),
        _shapes(walkthrough),
        _quirks(walkthrough),
        *(
            _section(title, text, _plain_table(rows))
            for title, (text, rows) in (
                ("What the brackets save", cost_lines(walkthrough)),
                ("Held against finite differences", check_lines(walkthrough)),
            )
        ),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Back-propagation in {name}</title><style>{style}</style></head><body><main>"
        f"<h1>Back-propagation in <span>{name}</span></h1><p>{escape(opening(walkthrough))}</p>"
        f"{_composition(walkthrough)}{''.join(sections)}</main>"
        f'<script type="application/json" id="data">{_data(walkthrough.walk)}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _section(title: str, text: str, content: str, name: str = "") -> str:
    named = f' id="{name}"' if name else ""
    return f"<section{named}><h2>{escape(title)}</h2><p>{escape(text)}</p>{content}</section>"


def _composition(walkthrough: Walkthrough) -> str:
    equation = _scrolled("the network as functions", as_mathml(walkthrough.walk.composition, block=True))
    return _section("The network as functions within functions", composition_text(walkthrough), equation)


def _chain(walkthrough: Walkthrough) -> str:
    chain = walkthrough.walk.chain
    if chain is None:
        return ""
    return _section(
        "The chain",
        CHAIN,
        _scrolled("the chain", as_mathml(chain, block=True)),
        "chain",
    )


def _scrolled(label: str, content: str) -> str:
    """What may be wider than a phone, to be scrolled by finger and by keyboard."""
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(label)}">{content}</div>'


def _player(walkthrough: Walkthrough) -> str:
    walk = walkthrough.walk
    count = len(walk.steps)
    batch = walk.notation.batch
    samples = ""
    if batch > 1:
        options = "".join(f'<option value="{b}">{b + 1}</option>' for b in range(min(batch, MOST_SAMPLES)))
        of = f"of {batch}" if batch <= MOST_SAMPLES else f"of the first {MOST_SAMPLES}, of {batch}"
        samples = f'<label class="sample">sample <select id="sample">{options}</select> {of}</label>'
    steps = "".join(_step(each, walk) for each in walk.steps)
    drawing = _scrolled("the network", draw_network(walk, walkthrough.name))
    return (
        '<section id="player"><h2>Step by step</h2>'
        "<p>The buttons, the slider or the arrow keys go from step to step. Point at a term to see its numbers. "
        '<span class="forward-word">Forward</span> is in one colour, <span class="backward-word">backward</span> in '
        "another.</p>"
        '<div class="controls"><button type="button" id="back">Back</button>'
        '<button type="button" id="next">Next</button>'
        f'<input type="range" id="slider" min="1" max="{count}" value="1" aria-label="step">'
        f'<output id="status" for="slider">Step 1 of {count}</output>{samples}</div>'
        f'{drawing}<div class="stage"><div class="steps">{steps}</div>{_heat_map()}</div></section>'
    )


def _heat_map() -> str:
    """An empty table, which the script fills."""
    table = '<table aria-labelledby="matrix-name"><thead></thead><tbody></tbody></table>'
    held = _scrolled("the numbers of the term", table)
    return f'<div id="matrix"><p id="matrix-name" aria-live="polite"></p>{held}<p class="folded"></p></div>'


def _step(step: Step, walk: Walk) -> str:
    result = walk.quantities[step.result]
    title, text = PARTS[step.part]
    is_first = step.number == 1 or walk.steps[step.number - 2].part != step.part
    about = f"<p>{escape(text)}</p>" if is_first else ""
    rule = "" if step.rule is None else f'<div class="rule">where {as_mathml(step.rule)}</div>'
    remark = f"<p>{escape(step.remark)}</p>" if step.remark else ""
    chips = "".join(_chip(factor, walk, step.number) for factor in step.factors)
    side = "backward" if step.part in ("backward", "gradients") else "forward"
    made = Factor(result.symbol, result.key, result.shape)
    return (
        f'<article class="step {side}" id="step-{step.number}" data-result="{step.result}" '
        f'data-keys="{" ".join(factor.key for factor in step.factors)}">'
        f"<h3><small>{step.number}, {escape(title.lower())}</small> {escape(step.title)}</h3>{about}"
        f"{_scrolled(f'equation of step {step.number}', as_mathml(step.equation, block=True))}{rule}{remark}"
        f'<p class="chips"><span>reads</span>{chips}</p>'
        f'<p class="chips"><span>gives</span>{_chip(made, walk, step.number)}</p></article>'
    )


def _chip(factor: Factor, walk: Walk, now: int) -> str:
    """A button that shows the matrix, with its shape, what it is to step number `now`, and where it comes from."""
    quantity = walk.quantities[factor.key]
    said = [factor.role] if factor.role else []
    if quantity.step is None:
        said.append("given")
    elif quantity.step < now:
        said.append(f"computed in step {quantity.step}")
    words = f"<small>{escape(', '.join(said))}</small>" if said else ""
    name = f'<span class="spoken">{escape(quantity.name)}, shape</span>'
    return (
        f'<button type="button" class="chip {quantity.kind}" data-key="{factor.key}" '
        f'aria-pressed="false">{as_mathml(factor.symbol)} {name} <span>{factor.shape}</span>{words}</button>'
    )


def _plain_table(rows: Sequence[Sequence[str]]) -> str:
    """Of text."""
    return _table(rows[0][1], [[escape(cell) for cell in row] for row in rows])


def _table(label: str, rows: Sequence[Sequence[str]]) -> str:
    """Of HTML. The first row are headings, and the first cell of every row, too."""
    head, *body = rows
    cells = "".join(f'<th scope="col">{cell}</th>' if cell else "<td></td>" for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in body
    )
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
    return _scrolled(label, table)


def _shapes(walkthrough: Walkthrough) -> str:
    rows = [["what", "shape", "gradient", "shape"]]
    for of, by in shape_rows(walkthrough):
        what = f"{as_mathml(of.symbol)} <small>{escape(of.name)}</small>"
        rows.append([what, str(of.shape), as_mathml(by.symbol), str(by.shape)])
    text = "The loss is one number, so its derivative by anything has that thing's shape."
    return _section("Everything has a gradient of its own shape", text, _table("shapes", rows))


def _quirks(walkthrough: Walkthrough) -> str:
    text, slices, sums = first_quirk(walkthrough, MOST_SLICES)
    left_out = len(walkthrough.quirks.by_omega) - len(slices)
    more = f"<p>{left_out} more slices are not shown.</p>" if left_out else ""
    first = _section("The first quirk: an outer product", text, f"{_figures(slices)}{more}{_figures(sums)}")
    text, matrices = second_quirk(walkthrough)
    difference = walkthrough.quirks.largest_difference
    equal = f"<p>The largest difference between the long forms and the short ones is {difference:.1e}.</p>"
    content = f"{_figures(matrices)}{equal}{_plain_table(products_that_fit(walkthrough))}"
    return first + _section("The second quirk: a transpose", text, content)


def _figures(matrices: Sequence[Shown]) -> str:
    """Small matrices side by side, each under its name."""
    return f'<div class="figures">{"".join(map(_figure, matrices))}</div>'


def _figure(matrix: Shown) -> str:
    values = matrix.values
    name = as_mathml(matrix.symbol) + (f", {escape(matrix.words)}" if matrix.words else "")
    folded = fold_matrix(values, MOST_ROWS, MOST_COLUMNS)
    largest = float(np.max(np.abs(values))) or 1.0
    gap = f"<td>{folded.columns.left_out} more</td>"
    rows_gap = f'<td colspan="{len(folded.columns.shown) + 1}">{folded.rows.left_out} more rows</td>'
    lines = [
        rows_gap
        if line is None
        else "".join(gap if value is None else _cell(value, largest) for value in line)
        for line in folded.lines
    ]
    size = f"({values.shape[0]}, {values.shape[1]})"
    table = f'<table class="heat"><tbody>{"".join(f"<tr>{line}</tr>" for line in lines)}</tbody></table>'
    held = _scrolled(f"a matrix of shape {size}", table)
    return f"<figure><figcaption>{name} <span>{size}</span></figcaption>{held}</figure>"


def _cell(value: float, largest: float) -> str:
    sign = "negative" if value < 0.0 else "positive"
    return f'<td class="{sign}" style="--share: {abs(value) / largest:.2f}">{number(value)}</td>'


def _data(walk: Walk) -> str:
    """What the script shows: of every quantity the rows and columns that are not folded away."""
    quantities = {key: _shown(quantity) for key, quantity in walk.quantities.items()}
    text = json.dumps({"batch": walk.notation.batch, "quantities": quantities}, allow_nan=False)
    return text.replace("<", "\\u003c")  # so that nothing in it ends the script


def _shown(quantity: Quantity) -> dict[str, Any]:
    folds = [
        Fold(size, tuple(range(min(size, MOST_SAMPLES))))
        if axis == quantity.sample_axis
        else fold(size, most)
        for axis, (size, most) in enumerate(zip(quantity.shape, (MOST_ROWS, MOST_COLUMNS), strict=True))
    ]
    rows, columns = (each.shown for each in folds)
    axis, named = quantity.sample_axis or 0, quantity.unit_names
    return {
        "symbol": as_text(quantity.symbol),
        "name": quantity.name,
        "kind": quantity.kind,
        "step": quantity.step,
        "shape": quantity.shape,
        "sampleAxis": quantity.sample_axis,
        "unitNames": [quantity.unit_names[unit] for unit in (rows, columns)[1 - axis]] if named else [],
        "rows": rows,
        "columns": columns,
        "largest": float(np.max(np.abs(quantity.values))),
        "values": quantity.values[np.ix_(rows, columns)].tolist(),
    }
