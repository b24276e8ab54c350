"""An explanation as a LaTeX document, for which amsmath and geometry are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gpu_mlp.explanation.expressions import Expression
from gpu_mlp.explanation.folding import fold_matrix
from gpu_mlp.explanation.names import listed
from gpu_mlp.explanation.numbers import number
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
from gpu_mlp.explanation.written_in_latex import as_latex, escaped

__all__ = ["as_document"]

# Columns of a matrix, and of one that stands beside a long name.
MOST_ROWS, MOST_COLUMNS, MOST_BESIDE, MOST_SLICES = 8, 7, 5, 4
# How the letters of the sentences are printed.
LETTERS = {
    "\N{GREEK CAPITAL LETTER PHI}": r"$\Phi$",
    "\N{GREEK SMALL LETTER PHI}": r"$\phi$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "\N{GREEK SMALL LETTER PI}": r"$\pi$",
    "\N{CIRCLED DOT OPERATOR}": r"$\odot$",
    "\N{SUPERSCRIPT TWO}": r"$^2$",
    "\N{MODIFIER LETTER CAPITAL T}": r"$^T$",
    "\N{GREEK CAPITAL LETTER OMEGA}": r"$\Omega$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    **{chr(0x2080 + digit): f"$_{digit}$" for digit in range(10)},
}

# From so many letters on.
SIZES = ((100, r"\scriptsize"), (70, r"\footnotesize"))

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
                lines += [_sentence(CHAIN), _display(walk.chain)]
        lines += _step(step, walk, seen)
    lines += _shapes(walkthrough) + _quirks(walkthrough) + _tables(walkthrough)
    return "\n".join([*lines, r"\end{document}", ""])


def _sentence(text: str) -> str:
    """Text with its few letters of mathematics."""
    return "".join(LETTERS.get(sign) or escaped(sign) for sign in text) + "\n"


def _display(expression: Expression) -> str:
    """A long one in smaller letters."""
    size = next((size for length, size in SIZES if len(as_text(expression)) > length), "")
    return f"{{{size}\\[ {as_latex(expression)} \\]}}" if size else f"\\[ {as_latex(expression)} \\]"


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
    folded = fold_matrix(values, MOST_ROWS, most_columns)
    cells = len(folded.columns.shown) + (folded.columns.left_out > 0)
    inner = " \\\\\n".join(
        " & ".join([r"\vdots"] * cells if line is None else map(_number, line)) for line in folded.lines
    )
    is_whole = not (folded.rows.left_out or folded.columns.left_out)
    size = "" if is_whole else f"_{{{values.shape[0]} \\times {values.shape[1]}}}"
    return f"\\begin{{bmatrix}}\n{inner}\n\\end{{bmatrix}}{size}"


def _number(value: float | None) -> str:
    """2.49e-04 as 2.49 times a power of ten; dots for what is left out."""
    if value is None:
        return r"\cdots"
    digits, _, exponent = number(value).partition("e")
    return f"{digits} \\cdot 10^{{{int(exponent)}}}" if exponent else digits


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
    text, slices, sums = first_quirk(walkthrough, MOST_SLICES)
    lines = [r"\section*{The first quirk: an outer product}", _sentence(text), *map(_shown, slices)]
    left_out = len(walkthrough.quirks.by_omega) - len(slices)
    if left_out:
        lines.append(f"{left_out} more slices are not shown.")
    lines += map(_shown, sums)
    text, matrices = second_quirk(walkthrough)
    lines += [r"\section*{The second quirk: a transpose}", _sentence(text), *map(_shown, matrices)]
    rows = [[_sentence(cell).strip() for cell in row] for row in products_that_fit(walkthrough)]
    return [*lines, _table(rows)]


def _shown(matrix: Shown) -> str:
    """The words under the name, which leaves more room for the matrix."""
    name = as_latex(matrix.symbol)
    if matrix.words:
        name = f"\\underset{{\\text{{{_sentence(matrix.words).strip()}}}}}{{{name}}}"
    return f"\\[ {name} = {_matrix(matrix.values, MOST_BESIDE)} \\]"


def _tables(walkthrough: Walkthrough) -> list[str]:
    lines = []
    for title, (text, rows) in (
        ("What the brackets save", cost_lines(walkthrough)),
        ("Held against finite differences", check_lines(walkthrough)),
    ):
        lines += [f"\\section*{{{title}}}", _sentence(text)]
        lines.append(_table([[_sentence(cell).strip() for cell in row] for row in rows]))
    return lines
