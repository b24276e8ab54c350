"""The equations as they are written, computed with plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from scipy.special import erf, expit

from gpu_mlp.explanation.expressions import (
    Absolute,
    Applied,
    Bracket,
    Cases,
    Derivative,
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

__all__ = ["evaluate"]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sign": np.sign,
    "sigmoid": expit,
    "sigma": expit,
    "Phi": lambda f: (1 + erf(f / np.sqrt(2))) / 2,
    "phi": lambda f: np.exp(-f * f / 2) / np.sqrt(2 * np.pi),
}


def evaluate(
    expression: Expression, values: Mapping[str, Any], *, sample_axis: int | None = None, **functions: Any
) -> Any:
    """The value of an expression in quantities by their keys, or in letters ("f", "f_o") where they have none.

    sample_axis: of a batch in matrices, which multiply as such; None where all products are of single numbers.
    """

    def of(inner: Expression) -> Any:
        return evaluate(inner, values, sample_axis=sample_axis, **functions)

    match expression:
        case Symbol(letter, index, key):
            return values[key or (f"{letter}_{index}" if index else letter)]
        case Derivative(key=key):
            return values[key]
        case Applied(key=key) if key:
            return values[key]
        case Applied(function, argument):
            name = function.text if isinstance(function, Words) else f"{function.letter}{function.index}"  # type: ignore[attr-defined]
            return {**FUNCTIONS, **functions}[name](of(argument))
        case Number(digits):
            return float(digits)
        case Transposed(inner):
            return of(inner).T
        case Product(factors):
            return reduce(_times if sample_axis is not None else np.multiply, map(of, factors))
        case Hadamard(factors):
            return reduce(np.multiply, map(of, factors))
        case Sum(terms):
            return sum(of(term) if sign == "+" else -of(term) for sign, term in terms)
        case SumOver(index, inner):
            axis = sample_axis if index == "b" else 0
            return of(inner).sum(axis=axis, keepdims=index == "b")
        case Fraction(top, bottom):
            return of(top) / of(bottom)
        case Power(base, exponent):
            return of(base) ** int(exponent)
        case Absolute(inner):
            return np.abs(of(inner))
        case Grouped(inner) | Bracket(inner):
            return of(inner)
        case Relation(left, sign, right):
            return {">": np.greater, "<=": np.less_equal}[sign](of(left), of(right))
        case Cases(first, condition, second):
            return np.where(of(condition), of(first), of(second))
    raise TypeError(expression)


def _times(left: Any, right: Any) -> Any:
    return left @ right if np.ndim(left) == np.ndim(right) == 2 else left * right
