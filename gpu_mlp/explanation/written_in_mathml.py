"""An expression in MathML, which browsers draw by themselves."""

from __future__ import annotations

from html import escape

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
from gpu_mlp.explanation.written_as_text import GREEK, LESS_OR_EQUAL, MINUS

__all__ = ["as_mathml"]


def as_mathml(expression: Expression, *, block: bool = False) -> str:
    """A <math> element; what stands for a quantity has its key in data-key."""
    display = ' display="block"' if block else ""
    return f"<math{display}>{_inner(expression)}</math>"


def _inner(expression: Expression) -> str:
    match expression:
        case Symbol():
            return _symbol(expression)
        case Number(digits):
            return f"<mn>{escape(digits.replace('-', MINUS))}</mn>"
        case Words(text):
            return f"<mtext>{escape(text)}</mtext>"
        case Derivative(of, by, key):
            top, bottom = (f"<mrow><mo>∂</mo>{_inner(each)}</mrow>" for each in (of, by))
            return f"<mfrac{_data(key)}>{top}{bottom}</mfrac>"
        case Transposed(inner):
            grouped = isinstance(inner, (Derivative, Applied))
            held = _row(_fenced("(", _inner(inner), ")")) if grouped else _tight(inner)
            return f"<msup>{held}<mi>T</mi></msup>"
        case Product(factors):
            return _row("".join(_tight(factor) for factor in factors))
        case Hadamard(factors):
            return _row("<mo>⊙</mo>".join(_tight(factor) for factor in factors))
        case Sum(terms):
            return _sum(terms)
        case SumOver(index, inner):
            return _row(f"<munder><mo>∑</mo><mi>{escape(index)}</mi></munder>{_tight(inner)}")
        case Applied(function, argument, elementwise, key):
            left, right = "[]" if elementwise else "()"
            return _row(f"{_inner(function)}{_fenced(left, _inner(argument), right)}", key)
        case Fraction(top, bottom):
            return f"<mfrac>{_row(_inner(top))}{_row(_inner(bottom))}</mfrac>"
        case Power(base, exponent):
            return f"<msup>{_tight(base)}<mn>{escape(exponent.replace('-', MINUS))}</mn></msup>"
        case Absolute(inner):
            return _row(_fenced("|", _inner(inner), "|"))
        case Relation(left, sign, right):
            return _row(f"{_inner(left)}<mo>{escape(sign.replace('<=', LESS_OR_EQUAL))}</mo>{_inner(right)}")
        case Cases(first, condition, second):
            rows = (first, _inner(condition)), (second, "<mtext>else</mtext>")
            lines = "".join(
                f"<mtr><mtd>{_inner(value)}</mtd><mtd>{where}</mtd></mtr>" for value, where in rows
            )
            return _row(f'<mo stretchy="true">{{</mo><mtable>{lines}</mtable>')
        case Grouped(inner):
            return _row(_fenced("(", _inner(inner), ")"))
        case Bracket(inner, step):
            # Underlined by the page's style: few machines have a font with braces that stretch.
            held = f'<mrow class="held">{_fenced("[", _inner(inner), "]")}</mrow>'
            return f'<munder class="bracket">{held}<mtext>step {step}</mtext></munder>'
        case Equation(sides):
            return _row("<mo>=</mo>".join(map(_inner, sides)))
    raise TypeError(f"{expression!r} is no expression")


def _data(key: str) -> str:
    return f' class="term" data-key="{escape(key)}"' if key else ""


def _row(content: str, key: str = "") -> str:
    return f"<mrow{_data(key)}>{content}</mrow>"


def _fenced(left: str, content: str, right: str) -> str:
    """Of one size: a fence that stretches would reach around what is underlined within."""
    return f'<mo stretchy="false">{left}</mo>{content}<mo stretchy="false">{right}</mo>'


def _symbol(symbol: Symbol) -> str:
    letter = f"<mi>{escape(GREEK.get(symbol.letter, symbol.letter))}</mi>"
    if symbol.prime:
        letter = f"<msup>{letter}<mo>′</mo></msup>"
    if not symbol.index:
        return _row(letter, symbol.key) if symbol.key else letter
    kind = "mn" if symbol.index.isdigit() else "mi"
    return f"<msub{_data(symbol.key)}>{letter}<{kind}>{escape(symbol.index)}</{kind}></msub>"


def _sum(terms: tuple[tuple[str, Expression], ...]) -> str:
    parts = []
    for number, (sign, term) in enumerate(terms):
        if number > 0 or sign == "-":
            parts.append(f"<mo>{MINUS if sign == '-' else '+'}</mo>")
        parts.append(_inner(term))
    return _row("".join(parts))


def _tight(expression: Expression) -> str:
    inner = _inner(expression)
    return _row(_fenced("(", inner, ")")) if isinstance(expression, (Sum, Hadamard, Cases)) else inner
