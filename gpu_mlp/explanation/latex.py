"""An explanation as a LaTeX document, for which amsmath is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.explanation.expressions import Derivative, Expression, Grouped, Product, Transposed
from gpu_mlp.explanation.folding import fold
from gpu_mlp.explanation.names import listed
from gpu_mlp.explanation.numbers import number
from gpu_mlp.explanation.steps import Step, Walk
from gpu_mlp.explanation.story import (
    CHAIN,
    PARTS,
    check_lines,
    composition_text,
    cost_lines,
    opening,
    quirk_texts,
    shape_rows,
)
from gpu_mlp.explanation.walkthrough import Walkthrough
from gpu_mlp.explanation.written_in_latex import as_latex, escaped

__all__ = ["as_document"]

# Columns of a matrix, and of one that stands beside a long name.
MOST_ROWS, MOST_COLUMNS, MOST_BESIDE, MOST_SLICES = 8, 7, 5, 4
# How the letters of the sentences are printed.
LETTERS = {
    "\N{GREEK CAPITAL LETTER OMEGA}": r"$\Omega$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    **{chr(0x2080 + digit): f"$_{digit}$" for digit in range(10)},
}

HEAD = r"""\documentclass{article}
\usepackage[a4paper,margin=25mm]{geometry}
\usepackage{amsmath}
\setlength{\parindent}{0pt}
\allowdisplaybreaks
"""


def as_document(walkthrough: Walkthrough) -> str:
    """From \\documentclass to \\end{document}; names that come from a file are escaped."""
    walk = walkthrough.walk
    lines = [
        HEAD,
        f"\\title{{Back-propagation in {escaped(walkthrough.name)}}}",
        r"\date{}",
        r"\begin{document}",
    ]
    lines += [r"\maketitle", _sentence(opening(walkthrough))]
    lines += [r"\section*{The network as functions within functions}", _display(walk.composition)]
    lines.append(_sentence(composition_text(walkthrough)))
    part, seen = "", set[str]()
    for step in walk.steps:
        if step.part != part:
            part = step.part
            title, text = PARTS[part]
            lines += [f"\\section*{{{escaped(title)}}}", _sentence(text)]
            if part == "backward" and walk.chain is not None:
                lines += [_sentence(CHAIN), f"{{\\footnotesize {_display(walk.chain)}}}"]
        lines += _step(step, walk, seen)
    lines += _shapes(walkthrough) + _quirks(walkthrough) + _tables(walkthrough)
    return "\n".join([*lines, r"\end{document}", ""])


def _sentence(text: str) -> str:
    """Text with its few letters of mathematics."""
    return "".join(LETTERS.get(sign) or escaped(sign) for sign in text) + "\n"


def _display(expression: Expression) -> str:
    return f"\\[ {as_latex(expression)} \\]"


def _step(step: Step, walk: Walk, seen: set[str]) -> list[str]:
    """The equation, and the numbers of what has not been seen before."""
    result = walk.quantities[step.result]
    lines = [f"\\subsection*{{Step {step.number}. {escaped(step.title)}}}", _display(step.equation)]
    if step.rule is not None:
        lines += ["where", _display(step.rule)]
    if step.remark:
        lines.append(_sentence(step.remark))
    shapes = [f"${as_latex(factor.symbol)}$ {factor.shape}" for factor in step.factors]
    lines.append(f"Shapes: ${as_latex(result.symbol)}$ {result.shape} from {', '.join(shapes)}.")
    for key in (*(factor.key for factor in step.factors), step.result):
        if key not in seen:
            seen.add(key)
            quantity = walk.quantities[key]
            lines.append(_named(as_latex(quantity.symbol), quantity.values))
            if quantity.unit_names:
                lines.append(f"Units: {escaped(listed(quantity.unit_names))}.\n")
    return lines


def _named(name: str, values: NDArray[Any]) -> str:
    rows, columns = values.shape
    is_turned = columns == 1 and rows > 1
    held, mark = (values.T, "^{T}") if is_turned else (values, "")
    return f"\\[ {name} = {_matrix(held)}{mark} \\]"


def _matrix(values: NDArray[Any], most_columns: int = MOST_COLUMNS) -> str:
    """Large ones with dots, and how many rows and columns there are in all."""
    rows, columns = (
        fold(size, most) for size, most in zip(values.shape, (MOST_ROWS, most_columns), strict=True)
    )
    lines = []
    for place, i in enumerate(rows.shown):
        cells = [number(float(values[i, j])) for j in columns.shown]
        if columns.left_out:
            cells.insert(-1, r"\cdots")
        if rows.left_out and place == len(rows.shown) - 1:
            lines.append(" & ".join([r"\vdots"] * len(cells)))
        lines.append(" & ".join(cells))
    inner = " \\\\\n".join(lines)
    size = f"_{{{values.shape[0]} \\times {values.shape[1]}}}" if rows.left_out or columns.left_out else ""
    return f"\\begin{{bmatrix}}\n{inner}\n\\end{{bmatrix}}{size}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    kinds = "l" + "r" * (len(rows[0]) - 1)
    body = " \\\\\n".join(" & ".join(row) for row in rows)
    return f"\\begin{{center}}\\begin{{tabular}}{{{kinds}}}\n{body}\n\\end{{tabular}}\\end{{center}}"


def _shapes(walkthrough: Walkthrough) -> list[str]:
    rows = [["", "shape", "gradient", "shape"]]
    for of, by in shape_rows(walkthrough):
        rows.append([f"${as_latex(of.symbol)}$", str(of.shape), f"${as_latex(by.symbol)}$", str(by.shape)])
    # Some at a time: a table is a box that one page must hold, however deep the network is.
    halves = [rows[:1] + rows[start : start + 20] for start in range(1, len(rows), 20)]
    return [r"\section*{Everything has a gradient of its own shape}", *(_table(half) for half in halves)]


def _quirks(walkthrough: Walkthrough) -> list[str]:
    quirks, quantities = walkthrough.quirks, walkthrough.walk.quantities
    first, second = quirk_texts(walkthrough)
    f, h, omega, by_f = (quantities[f"{name}_{quirks.layer}"].symbol for name in ("f", "h", "omega", "dl_df"))
    tensor, jacobian = as_latex(Grouped(Derivative(f, omega))), Derivative(f, h)
    lines = [r"\section*{The first quirk: an outer product}", _sentence(first)]
    slices = quirks.by_omega[:MOST_SLICES]
    lines += [_shown(f"{tensor}_{{{o}}}", each) for o, each in enumerate(slices)]
    if len(slices) < len(quirks.by_omega):
        lines.append(f"{len(quirks.by_omega) - len(slices)} more slices are not shown.")
    lines += [
        _shown(f"\\sum_o {as_latex(Grouped(by_f))}_o {tensor}_o", quirks.contracted),
        _shown(as_latex(Product(by_f, Transposed(h))), quirks.outer),
        r"\section*{The second quirk: a transpose}",
        _sentence(second),
        _shown(as_latex(jacobian), quirks.by_h),
        _shown(as_latex(omega), quirks.omega),
        _shown(as_latex(Product(Transposed(Grouped(by_f)), jacobian)), quirks.vector_jacobian[np.newaxis]),
    ]
    return lines


def _shown(name: str, values: NDArray[Any]) -> str:
    return f"\\[ {name} = {_matrix(values, MOST_BESIDE)} \\]"


def _tables(walkthrough: Walkthrough) -> list[str]:
    lines = []
    for title, (text, rows) in (
        ("What the brackets save", cost_lines(walkthrough)),
        ("Held against finite differences", check_lines(walkthrough)),
    ):
        lines += [f"\\section*{{{title}}}", _sentence(text)]
        lines.append(_table([[_sentence(cell).strip() for cell in row] for row in rows]))
    return lines
