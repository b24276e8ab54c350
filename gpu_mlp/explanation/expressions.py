"""Equations as trees, of which every format makes its own writing: text, LaTeX and MathML."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Absolute",
    "Applied",
    "Bracket",
    "Cases",
    "Derivative",
    "Equation",
    "Expression",
    "Fraction",
    "Grouped",
    "Hadamard",
    "Number",
    "Power",
    "Product",
    "Relation",
    "Sum",
    "SumOver",
    "Symbol",
    "Transposed",
    "Words",
    "minus",
]


class Expression:
    """A part of an equation."""


@dataclass(frozen=True)
class Symbol(Expression):
    """A letter, by its English name where it is Greek, with an index; prime: its derivative, as in a'.

    key: of the quantity that it stands for; empty for one that has no values of its own.
    """

    letter: str
    index: str = ""
    key: str = ""
    prime: bool = False


@dataclass(frozen=True)
class Number(Expression):
    """A number as it is to be read."""

    digits: str


@dataclass(frozen=True)
class Words(Expression):
    """A name or a remark within an equation, set upright."""

    text: str


@dataclass(frozen=True)
class Derivative(Expression):
    """d of / d by; key as in `Symbol`."""

    of: Expression
    by: Expression
    key: str = ""


@dataclass(frozen=True)
class Transposed(Expression):
    """What it holds, with rows as columns."""

    inner: Expression


@dataclass(frozen=True)
class Product(Expression):
    """Factors one after the other, as matrices multiply."""

    factors: tuple[Expression, ...]

    def __init__(self, *factors: Expression) -> None:
        object.__setattr__(self, "factors", factors)


@dataclass(frozen=True)
class Hadamard(Expression):
    """Factors multiplied element by element."""

    factors: tuple[Expression, ...]

    def __init__(self, *factors: Expression) -> None:
        object.__setattr__(self, "factors", factors)


@dataclass(frozen=True)
class Sum(Expression):
    """Terms, each with + or - before it."""

    terms: tuple[tuple[str, Expression], ...]

    def __init__(self, *terms: Expression | tuple[str, Expression]) -> None:
        signed = (term if isinstance(term, tuple) else ("+", term) for term in terms)
        object.__setattr__(self, "terms", tuple(signed))


def minus(first: Expression, second: Expression) -> Sum:
    """first - second"""
    return Sum(first, ("-", second))


@dataclass(frozen=True)
class SumOver(Expression):
    """The sum of `inner` over an index."""

    index: str
    inner: Expression


@dataclass(frozen=True)
class Applied(Expression):
    """A function of its argument; element by element in square brackets, else in round ones."""

    function: Expression
    argument: Expression
    elementwise: bool = False
    key: str = ""


@dataclass(frozen=True)
class Fraction(Expression):
    """top / bottom"""

    top: Expression
    bottom: Expression


@dataclass(frozen=True)
class Power(Expression):
    """base to an exponent"""

    base: Expression
    exponent: str


@dataclass(frozen=True)
class Absolute(Expression):
    """|inner|"""

    inner: Expression


@dataclass(frozen=True)
class Relation(Expression):
    """left sign right, with ">" or "<=" between them."""

    left: Expression
    sign: str
    right: Expression


@dataclass(frozen=True)
class Cases(Expression):
    """The first of two where a condition holds, and else the second."""

    first: Expression
    condition: Relation
    second: Expression


@dataclass(frozen=True)
class Grouped(Expression):
    """What it holds, in parentheses."""

    inner: Expression


@dataclass(frozen=True)
class Bracket(Expression):
    """What has been computed already, in the step of that number."""

    inner: Expression
    step: int


@dataclass(frozen=True)
class Equation(Expression):
    """Sides that are equal, from left to right."""

    sides: tuple[Expression, ...]

    def __init__(self, *sides: Expression) -> None:
        object.__setattr__(self, "sides", sides)
