"""An expression as one line of text."""

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

__all__ = ["GREEK", "LESS_OR_EQUAL", "MINUS", "as_text", "subscript"]

GREEK = {
    "beta": "\N{GREEK SMALL LETTER BETA}",
    "delta": "\N{GREEK SMALL LETTER DELTA}",
    "omega": "\N{GREEK CAPITAL LETTER OMEGA}",
    "phi": "\N{GREEK SMALL LETTER PHI}",
    "Phi": "\N{GREEK CAPITAL LETTER PHI}",
    "pi": "\N{GREEK SMALL LETTER PI}",
    "sigma": "\N{GREEK SMALL LETTER SIGMA}",
    "ell": "\N{SCRIPT SMALL L}",
}
SUBSCRIPTS = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
MINUS, LESS_OR_EQUAL = "\N{MINUS SIGN}", "\N{LESS-THAN OR EQUAL TO}"


def subscript(index: str) -> str:
    """Digits below the line; an index of letters after a low line."""
    return index.translate(SUBSCRIPTS) if all(sign in "0123456789+-" for sign in index) else f"_{index}"


def as_text(expression: Expression) -> str:
    """As people write it in a line: dL/df₂ = a'[f₂] ⊙ [dL/dh₃]."""
    match expression:
        case Symbol(letter, index, _, prime):
            return GREEK.get(letter, letter) + ("'" if prime else "") + (subscript(index) if index else "")
        case Number(digits):
            return digits.replace("-", MINUS)
        case Words(text):
            return text
        case Derivative(of, by):
            return f"d{as_text(of)}/d{as_text(by)}"
        case Transposed(inner):
            return f"({as_text(inner)})ᵀ" if isinstance(inner, (Derivative, Applied)) else f"{_tight(inner)}ᵀ"
        case Product(factors):
            return " ".join(_tight(factor) for factor in factors)
        case Hadamard(factors):
            return " ⊙ ".join(_tight(factor) for factor in factors)
        case Sum(terms):
            return _sum(terms)
        case SumOver(index, inner):
            return f"Σ{subscript(index)} {_tight(inner)}"
        case Applied(function, argument, elementwise):
            left, right = "[]" if elementwise else "()"
            return f"{as_text(function)}{left}{as_text(argument)}{right}"
        case Fraction(top, bottom):
            return f"{_tight(top)}/{_tight(bottom)}"
        case Power(base, exponent):
            return f"{_tight(base)}{exponent.translate(SUPERSCRIPTS)}"
        case Absolute(inner):
            return f"|{as_text(inner)}|"
        case Relation(left, sign, right):
            return f"{as_text(left)} {sign.replace('<=', LESS_OR_EQUAL)} {as_text(right)}"
        case Cases(first, condition, second):
            return f"{as_text(first)} where {as_text(condition)}, else {as_text(second)}"
        case Grouped(inner):
            return f"({as_text(inner)})"
        case Bracket(inner):
            return f"[{as_text(inner)}]"
        case Equation(sides):
            return " = ".join(map(as_text, sides))
    raise TypeError(f"{expression!r} is no expression")


def _sum(terms: tuple[tuple[str, Expression], ...]) -> str:
    text = "".join(f" {MINUS if sign == '-' else '+'} {as_text(term)}" for sign, term in terms)
    return text[3:] if terms[0][0] == "+" else f"{MINUS}{text[3:]}"


def _tight(expression: Expression) -> str:
    """In parentheses where a neighbour would bind more strongly."""
    text = as_text(expression)
    return f"({text})" if isinstance(expression, (Sum, Hadamard, Cases)) else text
