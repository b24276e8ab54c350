"""The walkthrough as it is written: one step after the other, each knowing what has been computed before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.config import Loss
from gpu_mlp.explanation import symbols
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
from gpu_mlp.explanation.names import UnitNames
from gpu_mlp.explanation.passes import Passes
from gpu_mlp.explanation.quantities import Kind, Notation, Quantity
from gpu_mlp.explanation.steps import Factor, Part, Step, Walk

__all__ = ["walk"]

DEEPEST = 6  # layers in an equation that is still read


def walk(passes: Passes, loss: Loss, notation: Notation, names: UnitNames) -> Walk:
    """From h_0 up to the loss and back down to every gradient."""
    return _Walker(passes, loss, notation, names).walk()


class _Walker:
    """Writes steps one after the other, and knows which step computed what."""

    def __init__(self, passes: Passes, loss: Loss, notation: Notation, names: UnitNames) -> None:
        self._passes, self._loss, self._notation, self._names = passes, loss, notation, names
        self._quantities: dict[str, Quantity] = {}
        self._steps: list[Step] = []

    def walk(self) -> Walk:
        self._give()
        last = self._passes.last
        for k in range(last + 1):
            self._weigh(k)
            if k < last:
                self._activate(k)
        self._link()
        self._loss_step()
        self._start_backward()
        for k in range(last, 0, -1):
            self._through_weights(k)
            self._through_activation(k - 1)
        for k in range(last, -1, -1):
            self._weights_gradient(k)
            self._biases_gradient(k)
        return Walk(self._notation, self._quantities, tuple(self._steps), self._composition(), self._chain())

    # What there is.

    def _add(
        self,
        key: str,
        symbol: Expression,
        name: str,
        values: NDArray[Any],
        kind: Kind,
        sample_axis: int | None = None,
        unit_names: tuple[str, ...] = (),
    ) -> None:
        step = None if kind == "given" else len(self._steps) + 1
        self._quantities[key] = Quantity(key, symbol, name, values, kind, step, sample_axis, unit_names)

    def _add_units(self, key: str, symbol: Expression, name: str, rows: NDArray[Any], kind: Kind) -> None:
        """Of a batch, (B, D)."""
        notation = self._notation
        outputs = f"f_{self._passes.last}", "p", "y"
        names = self._names.inputs if key == "h_0" else self._names.outputs if key in outputs else ()
        self._add(key, symbol, name, notation.of_batch(rows), kind, notation.sample_axis, names)

    def _give(self) -> None:
        passes, notation = self._passes, self._notation
        self._add_units("h_0", symbols.h(0), "the input x", passes.h[0], "given")
        for k, (omega, beta) in enumerate(zip(passes.omega, passes.beta, strict=True)):
            self._add(f"omega_{k}", symbols.omega(k), f"weights into {self._place(k)}", omega, "given")
            name = f"biases of {self._place(k)}"
            self._add(f"beta_{k}", symbols.beta(k), name, notation.of_vector(beta), "given")
        smoothing = self._loss.parameters.get("label_smoothing", 0.0)
        name = f"the target, smoothed by {smoothing:g}" if smoothing > 0.0 else "the target"
        self._add_units("y", Symbol("y", key="y"), name, passes.y, "given")

    def _place(self, k: int) -> str:
        """What f_k is of."""
        return "the output" if k == self._passes.last else f"hidden layer {k + 1}"

    def _activation(self, k: int, *, prime: bool = False) -> Symbol:
        """a, with the number of its layer where they are not all one."""
        index = str(k + 1) if len(set(self._passes.activations)) > 1 else ""
        return Symbol("a", index, prime=prime)

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
        return Bracket(self._quantities[key].symbol, self._step_of(key))

    # Up.

    def _weigh(self, k: int) -> None:
        """f_k"""
        notation = self._notation
        name = f"pre-activations of {self._place(k)}" if k < self._passes.last else "the output"
        self._add_units(f"f_{k}", symbols.f(k), name, self._passes.f[k], "forward")
        factors = [self._factor(f"omega_{k}", transposed=not notation.columns), self._factor(f"h_{k}")]
        product = notation.layer(symbols.omega(k), symbols.h(k))
        self._step(
            "forward",
            f"Into {self._place(k)}: weights and biases",
            Equation(symbols.f(k), Sum(product, symbols.beta(k))),
            f"f_{k}",
            [*(factors if notation.columns else factors[::-1]), self._factor(f"beta_{k}")],
            remark="The biases are added to every sample." if notation.batch > 1 else "",
        )

    def _activate(self, k: int) -> None:
        """h_{k+1}"""
        name, a = self._passes.activations[k], self._activation(k)
        what = f"units of {self._place(k)}"
        self._add_units(f"h_{k + 1}", symbols.h(k + 1), what, self._passes.h[k + 1], "forward")
        formula = activation_formula(name)
        self._step(
            "forward",
            f"{_capital(self._place(k))}: activation {name}",
            Equation(symbols.h(k + 1), Applied(a, symbols.f(k), elementwise=True)),
            f"h_{k + 1}",
            [self._factor(f"f_{k}")],
            Equation(Applied(a, Symbol("f"), elementwise=True), formula.value),
            formula.note,
        )

    def _link(self) -> None:
        name = LINKED_LOSSES.get(self._loss.name)
        if name is None:
            return
        self._add_units("p", Symbol("p", key="p"), f"{name} of the output", self._passes.link, "forward")
        f = symbols.f(self._passes.last)
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
        self._add("loss", symbols.LOSS, f"the loss, {loss.name}", value, "forward")
        formula = loss_formula(loss, Symbol("f"), Symbol("y"), Symbol("p")).value
        one = Symbol("ell", "b")
        sides, rule = (formula, None) if batch == 1 else (SumOver("b", one), Equation(one, formula))
        read = "p" if loss.name == "softmax_cross_entropy" else f"f_{last}"
        self._step(
            "loss",
            f"The loss: {loss.name.replace('_', ' ')}" + (", its mean over the batch" if batch > 1 else ""),
            Equation(symbols.LOSS, _scaled(loss.factor, batch, sides)),
            "loss",
            [self._factor(read), self._factor("y")],
            rule,
        )

    # Down.

    def _start_backward(self) -> None:
        loss, last, notation = self._loss, self._passes.last, self._notation
        key = f"dl_df_{last}"
        self._add_units(key, symbols.dl_df(last), "the first bracket", self._passes.dl_df[last], "backward")
        linked = loss.name in LINKED_LOSSES
        formula = loss_formula(
            loss, symbols.f(last), Symbol("y", key="y"), Symbol("p", key="p") if linked else Words("")
        )
        gradient = _scaled(loss.factor, notation.batch, formula.gradient)
        self._step(
            "backward",
            "The chain begins: how the loss changes with the output",
            Equation(symbols.dl_df(last), gradient),
            key,
            [self._factor("p" if linked else f"f_{last}"), self._factor("y")],
        )

    def _through_weights(self, k: int) -> None:
        """From dL/df_k to dL/dh_k."""
        notation = self._notation
        bracket = self._bracket(f"dl_df_{k}")
        name = f"how the loss changes with the units of {self._place(k - 1)}"
        self._add_units(f"dl_dh_{k}", symbols.dl_dh(k), name, self._passes.dl_dh[k], "backward")
        local = self._factor(f"omega_{k}", transposed=notation.columns, role="local derivative")
        known = self._factor(f"dl_df_{k}", role="bracket")
        acts = "acts as its transpose" if notation.columns else "is multiplied from the left by a row"
        self._step(
            "backward",
            f"Back through the weights into {self._place(k)}",
            Equation(symbols.dl_dh(k), notation.back(symbols.omega(k), bracket)),
            f"dl_dh_{k}",
            [local, known] if notation.columns else [known, local],
            Equation(Derivative(Symbol("f", str(k)), Symbol("h", str(k))), symbols.omega(k)),
            remark=f"The local derivative is the matrix of weights, and {acts}: the second quirk.",
        )

    def _through_activation(self, k: int) -> None:
        """From dL/dh_{k+1} to dL/df_k."""
        passes = self._passes
        name, a_prime = passes.activations[k], self._activation(k, prime=True)
        slope = Applied(a_prime, symbols.f(k), elementwise=True, key=f"slope_{k}")
        what = f"slopes of {name} at the pre-activations"
        self._add_units(f"slope_{k}", slope, what, passes.slopes[k], "backward")
        bracket = self._bracket(f"dl_dh_{k + 1}")
        what = f"how the loss changes with the pre-activations of {self._place(k)}"
        self._add_units(f"dl_df_{k}", symbols.dl_df(k), what, passes.dl_df[k], "backward")
        local = self._factor(f"slope_{k}", role="local derivative")
        formula, applied = (
            activation_formula(name),
            Applied(self._activation(k), Symbol("f"), elementwise=True),
        )
        self._step(
            "backward",
            f"Back through the activation {name} of {self._place(k)}",
            Equation(symbols.dl_df(k), Hadamard(slope, bracket)),
            f"dl_df_{k}",
            [self._factor(f"f_{k}", role="kept"), local, self._factor(f"dl_dh_{k + 1}", role="bracket")],
            Equation(Applied(a_prime, Symbol("f"), elementwise=True), formula.slope(applied)),
            f"Each unit has an activation of its own, so the local derivative is a diagonal. {formula.note}".strip(),
        )

    def _weights_gradient(self, k: int) -> None:
        notation = self._notation
        equation = Equation(symbols.by_omega(k), notation.outer(self._bracket(f"dl_df_{k}"), symbols.h(k)))
        known = self._factor(f"dl_df_{k}", transposed=not notation.columns, role="bracket")
        local = self._factor(f"h_{k}", transposed=notation.columns, role="local derivative")
        name = f"gradient of the weights into {self._place(k)}"
        many = "a sum of outer products, one for each sample" if notation.batch > 1 else "an outer product"
        self._add(f"dl_domega_{k}", symbols.by_omega(k), name, self._passes.dl_domega[k], "backward")
        self._step(
            "gradients",
            f"The gradient of the weights into {self._place(k)}",
            equation,
            f"dl_domega_{k}",
            [known, local],
            remark=f"The local derivative has three axes, and acts as {many}: the first quirk.",
        )

    def _biases_gradient(self, k: int) -> None:
        notation = self._notation
        equation = Equation(symbols.by_beta(k), notation.over_batch(self._bracket(f"dl_df_{k}")))
        known = self._factor(f"dl_df_{k}", role="bracket")
        values = notation.of_vector(self._passes.dl_dbeta[k])
        name = f"gradient of the biases of {self._place(k)}"
        self._add(f"dl_dbeta_{k}", symbols.by_beta(k), name, values, "backward")
        title = f"The gradient of the biases of {self._place(k)}"
        remark = "Each bias is added to one pre-activation: the local derivative is 1."
        self._step("gradients", title, equation, f"dl_dbeta_{k}", [known], remark=remark)

    def _composition(self) -> Equation:
        """f_K as functions within functions, the innermost of x; in the middle of a deep network three dots."""
        last = self._passes.last
        inner: Expression = Symbol("x", key="h_0")
        for k in range(last + 1):
            if DEEPEST // 2 <= k <= last - DEEPEST // 2 and last > DEEPEST:
                inner = Product(Words("..."), inner, Words("...")) if k == DEEPEST // 2 else inner
                continue
            inner = Applied(symbols.f(k), inner, elementwise=True)
            if k < last:
                inner = Applied(self._activation(k), inner, elementwise=True)
        return Equation(Words("output"), inner)

    def _chain(self) -> Equation | None:
        """Every bracket with the step that computes it; of a deep network what lies below its lowest layers' top."""
        start = min(self._passes.last, DEEPEST - 1)
        if start == 0:
            return None
        inner: Expression = symbols.dl_df(start)
        for k in range(start, 0, -1):
            weighted = self._notation.back(symbols.omega(k), Bracket(inner, self._step_of(f"dl_df_{k}")))
            slope = self._quantities[f"slope_{k - 1}"].symbol
            inner = Hadamard(slope, Bracket(weighted, self._step_of(f"dl_dh_{k}")))
        return Equation(symbols.dl_df(0), inner)

    def _step_of(self, key: str) -> int:
        step = self._quantities[key].step
        assert step is not None
        return step


def _scaled(factor: float, batch: int, inner: Expression) -> Expression:
    """factor / batch times inner."""
    if factor == 1.0 and batch == 1:
        return inner
    number = Number(f"{factor:g}")
    return Product(number if batch == 1 else Fraction(number, Number(str(batch))), inner)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
