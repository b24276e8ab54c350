"""An expression in LaTeX's mathematics."""

from __future__ import annotations

from gpu_mlp.explanation.expressions import (
    Absolute,
    Applied,
    Bracket,
    Cases,
    Derivative,
    Equation,
    Expression,
    Fraction,
    Grouped,
    Hadamard,
    Number,
    Power,
    Product,
    Relation,
    Sum,
    SumOver,
    Symbol,
    Transposed,
    Words,
)

__all__ = ["as_latex", "escaped"]

LETTERS = {
    name: f"\\{command}"
    for name, command in {
        "beta": "beta",
        "delta": "delta",
        "omega": "Omega",
        "phi": "phi",
        "Phi": "Phi",
        "pi": "pi",
        "sigma": "sigma",
        "ell": "ell",
    }.items()
}
ACCENTED = "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿßøØæÆœŒ"
RELATION = r"\le"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    ">": r"\textgreater{}",  # these three are other signs in LaTeX's first fonts
    "<": r"\textless{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """Any text as LaTeX prints it; what its first fonts lack becomes a question mark."""
    return "".join(SPECIAL.get(sign, sign if _is_plain(sign) else "?") for sign in text)


def _is_plain(sign: str) -> bool:
    """ASCII, and the letters with accents that every LaTeX composes."""
    return (sign.isascii() and sign.isprintable()) or (sign in ACCENTED)


def as_latex(expression: Expression) -> str:
    """To stand in a mathematical environment."""
    match expression:
        case Symbol(letter, index, _, prime):
            name = LETTERS.get(letter, letter) + ("'" if prime else "")
            return f"{name}_{{{index}}}" if index else name
        case Number(digits):
            return digits
        case Words(text):
            return f"\\text{{{escaped(text)}}}"
        case Derivative(of, by):
            return f"\\frac{{\\partial {as_latex(of)}}}{{\\partial {as_latex(by)}}}"
        case Transposed(inner):
            return (
                f"{{{_grouped(inner) if isinstance(inner, (Derivative, Applied)) else _tight(inner)}}}^{{T}}"
            )
        case Product(factors):
            return r"\,".join(_tight(factor) for factor in factors)
        case Hadamard(factors):
            return r" \odot ".join(_tight(factor) for factor in factors)
        case Sum(terms):
            text = "".join(f" {sign} {as_latex(term)}" for sign, term in terms)
            return text[3:] if terms[0][0] == "+" else text[1:]
        case SumOver(index, inner):
            return f"\\sum_{{{index}}} {_tight(inner)}"
        case Applied(function, argument, elementwise):
            left, right = "[]" if elementwise else "()"
            return f"{as_latex(function)}\\left{left}{as_latex(argument)}\\right{right}"
        case Fraction(top, bottom):
            return f"\\frac{{{as_latex(top)}}}{{{as_latex(bottom)}}}"
        case Power(base, exponent):
            return f"{{{_tight(base)}}}^{{{exponent}}}"
        case Absolute(inner):
            return f"\\left|{as_latex(inner)}\\right|"
        case Relation(left, sign, right):
            return f"{as_latex(left)} {sign.replace('<=', RELATION)} {as_latex(right)}"
        case Cases(first, condition, second):
            rows = f"{as_latex(first)} & {as_latex(condition)} \\\\ {as_latex(second)} & \\text{{else}}"
            return f"\\begin{{cases}} {rows} \\end{{cases}}"
        case Grouped(inner):
            return f"\\left({as_latex(inner)}\\right)"
        case Bracket(inner, step):
            return f"\\underbrace{{\\bigl[{as_latex(inner)}\\bigr]}}_{{\\text{{step {step}}}}}"
        case Equation(sides):
            return " = ".join(map(as_latex, sides))
    raise TypeError(f"{expression!r} is no expression")


def _tight(expression: Expression) -> str:
    return _grouped(expression) if isinstance(expression, (Sum, Hadamard, Cases)) else as_latex(expression)


def _grouped(expression: Expression) -> str:
    return f"\\left({as_latex(expression)}\\right)"
