"""The activations and losses as they are written, in the order of the package's own names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES
from gpu_mlp.backends.reference.activations import GELU_TANH_CUBE, LEAKY_RELU_SLOPE
from gpu_mlp.config import Loss
from gpu_mlp.explanation.expressions import (
    Absolute,
    Applied,
    Cases,
    Expression,
    Fraction,
    Grouped,
    Number,
    Power,
    Product,
    Relation,
    Sum,
    SumOver,
    Symbol,
    Words,
    minus,
)

__all__ = ["LINKED_LOSSES", "ActivationFormula", "LossFormula", "activation_formula", "loss_formula"]

F, Y = Symbol("f"), Symbol("y")
F_O, Y_O = Symbol("f", "o"), Symbol("y", "o")
ZERO, ONE, TWO, HALF = Number("0"), Number("1"), Number("2"), Number("0.5")


def _call(name: str, argument: Expression) -> Applied:
    return Applied(Words(name), argument)


POSITIVE = Relation(F, ">", ZERO)
EXP_F, SIGMA_F = _call("exp", F), Applied(Symbol("sigma"), F)
BELOW = Number(f"{LEAKY_RELU_SLOPE:g}")
CUBE, THRICE = Number(f"{GELU_TANH_CUBE:g}"), Number(f"{3 * GELU_TANH_CUBE:g}")
ROOT = Number("0.797885")  # sqrt(2 / pi)
T = _call("tanh", Product(ROOT, Grouped(Sum(F, Product(CUBE, Power(F, "3"))))))


@dataclass(frozen=True)
class ActivationFormula:
    """a[f], and a'[f], of which f and a[f] itself are parts; note: what else is to be known."""

    value: Expression
    slope: Callable[[Expression], Expression]
    note: str = ""


def _plain(slope: Expression) -> Callable[[Expression], Expression]:
    return lambda h: slope


_ACTIVATIONS = {
    "identity": ActivationFormula(F, _plain(ONE)),
    "relu": ActivationFormula(Cases(F, POSITIVE, ZERO), _plain(Cases(ONE, POSITIVE, ZERO))),
    "leaky_relu": ActivationFormula(
        Cases(F, POSITIVE, Product(BELOW, F)), _plain(Cases(ONE, POSITIVE, BELOW))
    ),
    "elu": ActivationFormula(Cases(F, POSITIVE, minus(EXP_F, ONE)), _plain(Cases(ONE, POSITIVE, EXP_F))),
    "sigmoid": ActivationFormula(
        Fraction(ONE, Sum(ONE, _call("exp", Sum(("-", F))))), lambda h: Product(h, Grouped(minus(ONE, h)))
    ),
    "tanh": ActivationFormula(_call("tanh", F), lambda h: minus(ONE, Power(h, "2"))),
    "gelu": ActivationFormula(
        Product(F, Applied(Symbol("Phi"), F)),
        _plain(Sum(Applied(Symbol("Phi"), F), Product(F, Applied(Symbol("phi"), F)))),
        "\N{GREEK CAPITAL LETTER PHI} is the standard normal's distribution, \N{GREEK SMALL LETTER PHI} its density.",
    ),
    "gelu_tanh": ActivationFormula(
        Product(HALF, F, Grouped(Sum(ONE, T))),
        _plain(
            Sum(
                Product(HALF, Grouped(Sum(ONE, T))),
                Product(
                    HALF,
                    F,
                    Grouped(minus(ONE, Power(T, "2"))),
                    ROOT,
                    Grouped(Sum(ONE, Product(THRICE, Power(F, "2")))),
                ),
            )
        ),
        "0.797885 is the square root of 2 / \N{GREEK SMALL LETTER PI}.",
    ),
    "silu": ActivationFormula(
        Product(F, SIGMA_F),
        _plain(Product(SIGMA_F, Grouped(Sum(ONE, Product(F, Grouped(minus(ONE, SIGMA_F))))))),
        "\N{GREEK SMALL LETTER SIGMA}(f) is 1 / (1 + exp(-f)).",
    ),
    "softplus": ActivationFormula(
        _call("log", Sum(ONE, EXP_F)),
        _plain(SIGMA_F),
        "\N{GREEK SMALL LETTER SIGMA}(f) is 1 / (1 + exp(-f)).",
    ),
}
assert tuple(_ACTIVATIONS) == ACTIVATION_NAMES


def activation_formula(name: str) -> ActivationFormula:
    """Of an activation of the package."""
    return _ACTIVATIONS[name]


@dataclass(frozen=True)
class LossFormula:
    """l of one sample, and its derivative by f."""

    value: Expression
    gradient: Expression


# Whose gradient is link(f) - target, and what the link is called.
LINKED_LOSSES = {
    "poisson": "exp",
    "binary_cross_entropy": "sigmoid",
    "softmax_cross_entropy": "softmax",
}


def loss_formula(loss: Loss, f: Expression, y: Expression, link: Expression) -> LossFormula:
    """Of a loss of the package, for the output f and the target y; link: what stands for link(f)."""
    error, error_o = minus(f, y), minus(F_O, Y_O)
    delta, tilt = loss.huber_delta, Number(f"{0.5 - loss.quantile:g}")
    squared = Fraction(Power(error_o, "2"), TWO)
    beyond = _times(delta, minus(Absolute(error_o), Number(f"{delta / 2:g}")))
    values: dict[str, tuple[Expression, Expression]] = {
        "squared_error": (SumOver("o", Power(error_o, "2")), Product(TWO, error)),
        "absolute_error": (SumOver("o", Absolute(error_o)), _call("sign", error)),
        "huber": (
            SumOver("o", Cases(squared, _within(error_o, delta), beyond)),
            Cases(error, _within(error, delta), _times(delta, _call("sign", error))),
        ),
        "quantile": (
            SumOver("o", Sum(Product(HALF, Absolute(error_o)), Product(tilt, error_o))),
            Sum(Product(HALF, _call("sign", error)), tilt),
        ),
        "poisson": (SumOver("o", minus(_call("exp", F_O), Product(Y_O, F_O))), minus(link, y)),
        "binary_cross_entropy": (
            SumOver("o", minus(_call("log", Sum(ONE, _call("exp", F_O))), Product(Y_O, F_O))),
            minus(link, y),
        ),
        "softmax_cross_entropy": (
            Sum(("-", SumOver("o", Product(Y_O, _call("log", Symbol("p", "o")))))),
            minus(link, y),
        ),
    }
    assert tuple(values) == LOSS_NAMES
    return LossFormula(*values[loss.name])


def _within(error: Expression, delta: float) -> Relation:
    return Relation(Absolute(error), "<=", Number(f"{delta:g}"))


def _times(factor: float, expression: Expression) -> Expression:
    return expression if factor == 1.0 else Product(Number(f"{factor:g}"), expression)
