"""The walkthrough: quantities and the steps that make them, from a network's own forward and backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.config import Loss
from gpu_mlp.explanation.expressions import (
    Applied,
    Bracket,
    Derivative,
    Equation,
    Expression,
    Fraction,
    Hadamard,
    Number,
    Product,
    Sum,
    SumOver,
    Symbol,
    Transposed,
    Words,
)
from gpu_mlp.explanation.formulas import LINKED_LOSSES, activation_formula, loss_formula
from gpu_mlp.explanation.passes import Passes
from gpu_mlp.explanation.quantities import Kind, Notation, Quantity

__all__ = ["Factor", "Step", "Walk", "walk"]

Part = Literal["forward", "loss", "backward", "gradients"]

LOSS = Symbol("L", key="loss")


@dataclass(frozen=True)
class Factor:
    """What a step reads: a quantity, transposed or not, and what it is there.

    role: "local derivative", "bracket" (what was computed already), or "".
    """

    symbol: Expression
    key: str
    shape: tuple[int, int]
    role: str = ""


@dataclass(frozen=True)
class Step:
    """One line of the walkthrough, which computes the quantity `result`.

    rule: the formula of a function in it, where there is one. remark: what else is to be said.
    """

    number: int
    part: Part
    title: str
    equation: Equation
    result: str
    factors: tuple[Factor, ...]
    rule: Expression | None = None
    remark: str = ""


@dataclass(frozen=True)
class Walk:
    """All quantities by their keys, in the order in which they come, and all steps."""

    notation: Notation
    quantities: dict[str, Quantity]
    steps: tuple[Step, ...]
    composition: Equation


def walk(passes: Passes, loss: Loss, notation: Notation) -> Walk:
    """From h_0 up to the loss and back down to every gradient."""
    return _Walker(passes, loss, notation).walk()


class _Walker:
    """Writes steps one after the other, and knows which step computed what."""

    def __init__(self, passes: Passes, loss: Loss, notation: Notation) -> None:
        self._passes, self._loss, self._notation = passes, loss, notation
        self._quantities: dict[str, Quantity] = {}
        self._steps: list[Step] = []

    def walk(self) -> Walk:
        self._give()
        last = self._passes.last
        for k in range(last + 1):
            self._forward(k)
        self._link()
        self._loss_step()
        self._start_backward()
        for k in range(last, 0, -1):
            self._backward(k)
        for k in range(last, -1, -1):
            self._gradients(k)
        return Walk(self._notation, self._quantities, tuple(self._steps), self._composition())

    # What there is.

    def _add(
        self,
        key: str,
        symbol: Expression,
        name: str,
        values: NDArray[Any],
        kind: Kind,
        *,
        of_batch: bool = False,
    ) -> None:
        axis = self._notation.sample_axis if of_batch else None
        step = None if kind == "given" else len(self._steps) + 1
        self._quantities[key] = Quantity(key, symbol, name, values, kind, step, axis)

    def _give(self) -> None:
        passes, notation = self._passes, self._notation
        self._add("h_0", _h(0), "the input x", notation.of_batch(passes.h[0]), "given", of_batch=True)
        for k, (omega, beta) in enumerate(zip(passes.omega, passes.beta, strict=True)):
            self._add(f"omega_{k}", _omega(k), f"weights of layer {k}", omega, "given")
            self._add(f"beta_{k}", _beta(k), f"biases of layer {k}", notation.of_vector(beta), "given")
        self._add(
            "y", Symbol("y", key="y"), "the target", notation.of_batch(passes.y), "given", of_batch=True
        )

    def _factor(self, key: str, *, transposed: bool = False, role: str = "") -> Factor:
        quantity = self._quantities[key]
        if not transposed:
            return Factor(quantity.symbol, key, quantity.shape, role)
        return Factor(Transposed(quantity.symbol), key, quantity.shape[::-1], role)

    def _step(
        self,
        part: Part,
        title: str,
        equation: Equation,
        result: str,
        factors: Iterable[Factor],
        rule: Expression | None = None,
        remark: str = "",
    ) -> None:
        number = len(self._steps) + 1
        self._steps.append(Step(number, part, title, equation, result, tuple(factors), rule, remark))

    def _bracket(self, key: str) -> Bracket:
        quantity = self._quantities[key]
        assert quantity.step is not None
        return Bracket(quantity.symbol, quantity.step)

    # Up.

    def _forward(self, k: int) -> None:
        notation, passes = self._notation, self._passes
        f, omega, beta, h = _f(k), _omega(k), _beta(k), _h(k)
        self._add(
            f"f_{k}",
            f,
            f"pre-activations of layer {k}",
            notation.of_batch(passes.f[k]),
            "forward",
            of_batch=True,
        )
        weights = self._factor(f"omega_{k}", transposed=not notation.columns)
        factors = [weights, self._factor(f"h_{k}")]
        self._step(
            "forward",
            f"Layer {k}: weights and biases",
            Equation(f, Sum(notation.layer(omega, h), beta)),
            f"f_{k}",
            [*(factors if notation.columns else factors[::-1]), self._factor(f"beta_{k}")],
        )
        if k == passes.last:
            return
        name = passes.activations[k]
        self._add(
            f"h_{k + 1}",
            _h(k + 1),
            f"hidden units of layer {k + 1}",
            notation.of_batch(passes.h[k + 1]),
            "forward",
            of_batch=True,
        )
        self._step(
            "forward",
            f"Layer {k}: activation {name}",
            Equation(_h(k + 1), Applied(Symbol("a"), f, elementwise=True)),
            f"h_{k + 1}",
            [self._factor(f"f_{k}")],
            Equation(Applied(Symbol("a"), Symbol("f"), elementwise=True), activation_formula(name).value),
        )

    def _link(self) -> None:
        name = LINKED_LOSSES.get(self._loss.name)
        if name is None:
            return
        values = self._notation.of_batch(self._passes.link)
        self._add("p", Symbol("p", key="p"), f"{name} of the output", values, "forward", of_batch=True)
        f = _f(self._passes.last)
        each = "" if name == "softmax" else ", element by element"
        self._step(
            "loss",
            f"The output through {name}{each}",
            Equation(Symbol("p", key="p"), Applied(Words(name), f)),
            "p",
            [self._factor(f"f_{self._passes.last}")],
        )

    def _loss_step(self) -> None:
        loss, batch, last = self._loss, self._notation.batch, self._passes.last
        value = np.asarray(self._passes.loss).reshape(1, 1)
        self._add("loss", LOSS, f"the loss, {loss.name}", value, "forward")
        one = Symbol("ell", "b") if batch > 1 else Symbol("ell")
        mean = SumOver("b", one) if batch > 1 else one
        formula = loss_formula(loss, Symbol("f"), Symbol("y"), Symbol("p"))
        read = "p" if loss.name == "softmax_cross_entropy" else f"f_{last}"
        self._step(
            "loss",
            f"The loss: {loss.name.replace('_', ' ')}" + (", its mean over the batch" if batch > 1 else ""),
            Equation(LOSS, *_scaled(loss.factor * loss.reported, batch, mean)),
            "loss",
            [self._factor(read), self._factor("y")],
            Equation(one, formula.value),
        )

    # Down.

    def _start_backward(self) -> None:
        loss, last, notation = self._loss, self._passes.last, self._notation
        key = f"dl_df_{last}"
        values = notation.of_batch(self._passes.dl_df[last])
        self._add(key, _dl_df(last), "the first bracket", values, "backward", of_batch=True)
        linked = loss.name in LINKED_LOSSES
        formula = loss_formula(
            loss, _f(last), Symbol("y", key="y"), Symbol("p", key="p") if linked else Words("")
        )
        (gradient,) = _scaled(loss.factor, notation.batch, formula.gradient)
        self._step(
            "backward",
            "The chain begins: how the loss changes with the output",
            Equation(_dl_df(last), gradient),
            key,
            [self._factor("p" if linked else f"f_{last}"), self._factor("y")],
        )

    def _backward(self, k: int) -> None:
        """From dL/df_k to dL/dh_k and dL/df_{k-1}."""
        notation, passes = self._notation, self._passes
        bracket = self._bracket(f"dl_df_{k}")
        self._add(
            f"dl_dh_{k}",
            _dl_dh(k),
            f"how the loss changes with the hidden units of layer {k}",
            notation.of_batch(passes.dl_dh[k]),
            "backward",
            of_batch=True,
        )
        local = self._factor(f"omega_{k}", transposed=notation.columns, role="local derivative")
        known = self._factor(f"dl_df_{k}", role="bracket")
        self._step(
            "backward",
            f"Back through the weights of layer {k}",
            Equation(_dl_dh(k), notation.back(_omega(k), bracket)),
            f"dl_dh_{k}",
            [local, known] if notation.columns else [known, local],
            Equation(Derivative(Symbol("f", str(k)), Symbol("h", str(k))), _omega(k)),
            remark="The local derivative is the matrix of weights, and acts as its transpose: the second quirk.",
        )
        f, name = _f(k - 1), passes.activations[k - 1]
        slope = Applied(Symbol("a", prime=True), f, elementwise=True, key=f"slope_{k - 1}")
        self._add(
            f"slope_{k - 1}",
            slope,
            f"slopes of {name} at f_{k - 1}",
            notation.of_batch(passes.slopes[k - 1]),
            "backward",
            of_batch=True,
        )
        bracket = self._bracket(f"dl_dh_{k}")
        self._add(
            f"dl_df_{k - 1}",
            _dl_df(k - 1),
            f"how the loss changes with the pre-activations of layer {k - 1}",
            notation.of_batch(passes.dl_df[k - 1]),
            "backward",
            of_batch=True,
        )
        self._step(
            "backward",
            f"Back through the activation {name} of layer {k - 1}",
            Equation(_dl_df(k - 1), Hadamard(slope, bracket)),
            f"dl_df_{k - 1}",
            [
                self._factor(f"slope_{k - 1}", role="local derivative"),
                self._factor(f"dl_dh_{k}", role="bracket"),
            ],
            Equation(
                Applied(Symbol("a", prime=True), Symbol("f"), elementwise=True),
                activation_formula(name).slope,
            ),
        )

    def _gradients(self, k: int) -> None:
        notation, passes = self._notation, self._passes
        bracket = self._bracket(f"dl_df_{k}")
        known = self._factor(f"dl_df_{k}", transposed=not notation.columns, role="bracket")
        by_omega = Derivative(LOSS_LETTER, _omega(k), f"dl_domega_{k}")
        self._add(
            f"dl_domega_{k}",
            by_omega,
            f"gradient of the weights of layer {k}",
            passes.dl_domega[k],
            "backward",
        )
        self._step(
            "gradients",
            f"The gradient of the weights of layer {k}",
            Equation(by_omega, notation.outer(bracket, _h(k))),
            f"dl_domega_{k}",
            [known, self._factor(f"h_{k}", transposed=notation.columns, role="local derivative")],
            remark="The local derivative has three axes, and acts as an outer product: the first quirk.",
        )
        by_beta = Derivative(LOSS_LETTER, _beta(k), f"dl_dbeta_{k}")
        self._add(
            f"dl_dbeta_{k}",
            by_beta,
            f"gradient of the biases of layer {k}",
            notation.of_vector(passes.dl_dbeta[k]),
            "backward",
        )
        self._step(
            "gradients",
            f"The gradient of the biases of layer {k}",
            Equation(by_beta, notation.over_batch(bracket)),
            f"dl_dbeta_{k}",
            [self._factor(f"dl_df_{k}", role="bracket")],
        )

    def _composition(self) -> Equation:
        """f_K as functions within functions, the innermost of x; in the middle of a deep network three dots."""
        last = self._passes.last
        inner: Expression = Symbol("x", key="h_0")
        for k in range(last + 1):
            if DEEPEST // 2 <= k <= last - DEEPEST // 2 and last > DEEPEST:
                inner = Words("...") if k == DEEPEST // 2 else inner
                continue
            inner = Applied(_f(k), inner, elementwise=True)
            if k < last:
                inner = Applied(Symbol("a"), inner, elementwise=True)
        return Equation(Words("output"), inner)


DEEPEST = 6  # layers in an equation that is still read
LOSS_LETTER = Symbol("L")


def _f(k: int) -> Symbol:
    return Symbol("f", str(k), f"f_{k}")


def _h(k: int) -> Symbol:
    return Symbol("h", str(k), f"h_{k}")


def _omega(k: int) -> Symbol:
    return Symbol("omega", str(k), f"omega_{k}")


def _beta(k: int) -> Symbol:
    return Symbol("beta", str(k), f"beta_{k}")


def _dl_df(k: int) -> Derivative:
    return Derivative(LOSS_LETTER, Symbol("f", str(k)), f"dl_df_{k}")


def _dl_dh(k: int) -> Derivative:
    return Derivative(LOSS_LETTER, Symbol("h", str(k)), f"dl_dh_{k}")


def _scaled(factor: float, batch: int, inner: Expression) -> tuple[Expression, ...]:
    """factor / batch times inner."""
    if factor == 1.0 and batch == 1:
        return (inner,)
    number = Number(f"{factor:g}")
    return (Product(number if batch == 1 else Fraction(number, Number(str(batch))), inner),)
