"""The activations and losses as they are written, in the order of the package's own names."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES
from gpu_mlp.config import Loss
from gpu_mlp.explanation.expressions import (
    Absolute,
    Applied,
    Expression,
    Fraction,
    Grouped,
    Number,
    Power,
    Product,
    Sum,
    SumOver,
    Symbol,
    Words,
    minus,
)

__all__ = ["LINKED_LOSSES", "ActivationFormula", "LossFormula", "activation_formula", "loss_formula"]

F, H, Y = Symbol("f"), Symbol("h"), Symbol("y")
F_O, Y_O = Symbol("f", "o"), Symbol("y", "o")
ONE, TWO, HALF = Number("1"), Number("2"), Number("0.5")


def _call(name: str, argument: Expression) -> Applied:
    return Applied(Words(name), argument)


SIGMA_F = Applied(Symbol("sigma"), F)
TANH_ARGUMENT = Words("sqrt(2/pi) (f + 0.044715 f^3)")


@dataclass(frozen=True)
class ActivationFormula:
    """a[f], and a'[f] in f and h = a[f]."""

    value: Expression
    slope: Expression


_ACTIVATIONS = {
    "identity": ActivationFormula(F, ONE),
    "relu": ActivationFormula(Words("max(f, 0)"), Words("1 where f > 0, else 0")),
    "leaky_relu": ActivationFormula(Words("max(f, 0.01 f)"), Words("1 where f > 0, else 0.01")),
    "elu": ActivationFormula(Words("f where f > 0, else exp(f) - 1"), Words("1 where f > 0, else exp(f)")),
    "sigmoid": ActivationFormula(
        Fraction(ONE, Sum(ONE, _call("exp", Sum(("-", F))))), Product(H, Grouped(minus(ONE, H)))
    ),
    "tanh": ActivationFormula(_call("tanh", F), minus(ONE, Power(H, "2"))),
    "gelu": ActivationFormula(
        Product(F, Applied(Symbol("Phi"), F)),
        Sum(Applied(Symbol("Phi"), F), Product(F, Applied(Symbol("phi"), F))),
    ),
    "gelu_tanh": ActivationFormula(
        Product(HALF, F, Grouped(Sum(ONE, _call("tanh", TANH_ARGUMENT)))),
        Words("its derivative by the product rule"),
    ),
    "silu": ActivationFormula(
        Product(F, SIGMA_F),
        Product(SIGMA_F, Grouped(Sum(ONE, Product(F, Grouped(minus(ONE, SIGMA_F)))))),
    ),
    "softplus": ActivationFormula(_call("log", Sum(ONE, _call("exp", F))), SIGMA_F),
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
    error = minus(f, y)
    values: dict[str, tuple[Expression, Expression]] = {
        "squared_error": (
            SumOver("o", Power(minus(F_O, Y_O), "2")),
            Product(TWO, Grouped(error)),
        ),
        "absolute_error": (SumOver("o", Absolute(minus(F_O, Y_O))), _call("sign", error)),
        "huber": (
            SumOver(
                "o",
                Words(
                    f"e^2 / 2 where |e| <= {loss.huber_delta:g}, else {loss.huber_delta:g} (|e| - "
                    f"{loss.huber_delta / 2:g}), e = f - y"
                ),
            ),
            Words(f"f - y, cut off at -{loss.huber_delta:g} and {loss.huber_delta:g}"),
        ),
        "quantile": (
            SumOver(
                "o",
                Words(
                    f"{1 - loss.quantile:g} e where e = f - y > 0, else -{loss.quantile:g} e",
                ),
            ),
            Words(f"{1 - loss.quantile:g} where f > y, else -{loss.quantile:g}"),
        ),
        "poisson": (
            SumOver("o", minus(_call("exp", F_O), Product(Y_O, F_O))),
            minus(link, y),
        ),
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
