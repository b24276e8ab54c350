"""The sentences of a walkthrough, which every format tells in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.explanation.expressions import Derivative, Expression, Product, Sum, Symbol, Transposed
from gpu_mlp.explanation.numbers import number
from gpu_mlp.explanation.quantities import Quantity
from gpu_mlp.explanation.steps import Part
from gpu_mlp.explanation.walkthrough import Walkthrough
from gpu_mlp.explanation.written_as_text import as_text

__all__ = [
    "CHAIN",
    "PARTS",
    "Shown",
    "check_lines",
    "composition_text",
    "cost_lines",
    "first_quirk",
    "opening",
    "products_that_fit",
    "second_quirk",
    "shape_rows",
]

FORWARD = (
    "Every layer weights what it is given, adds biases, and bends the sum by its activation. All that is computed on "
    "the way up is kept, for the way down needs it."
)
BACKWARD = (
    "The chain rule from the top: each derivative is a local one, of this layer alone, times the bracket that the "
    "step before has computed already. \N{CIRCLED DOT OPERATOR} multiplies element by element."
)
CHAIN = "So the derivative by the pre-activations of the first layer is built up, bracket within bracket:"
PARTS: dict[Part, tuple[str, str]] = {
    "forward": ("Forward", FORWARD),
    "loss": ("The loss", "One number for how far the output is from the target."),
    "backward": ("Backward", BACKWARD),
    "gradients": (
        "The gradients",
        "Each bracket dL/df now gives the gradients of its layer's weights and biases.",
    ),
}


def opening(walkthrough: Walkthrough) -> str:
    """What is explained."""
    network, notation = walkthrough.network, walkthrough.walk.notation
    names = ", ".join(dict.fromkeys(network.activations)) or "no hidden layer"
    laid = {"columns": "a column", "rows": "a row"}[notation.name]
    samples = f"one sample, {laid}," if notation.batch == 1 else f"{notation.batch} samples, each {laid},"
    prepared = ""
    if walkthrough.walk.quantities["h_0"].unit_names:
        prepared = " The input and the target are as the model prepares them."
    return (
        f"One step of back-propagation in the network {walkthrough.name} ({names}; "
        f"{network.parameter_count} parameters) for {samples} with the loss {walkthrough.loss.name}. All numbers are "
        f"those that gpu_mlp computes in {network.dtype} on {network.device}.{prepared}"
    )


def composition_text(walkthrough: Walkthrough) -> str:
    """What the letters of the composition stand for."""
    notation = walkthrough.walk.notation
    layer = as_text(Sum(notation.layer(Symbol("omega"), Symbol("h")), Symbol("beta")))
    count = len(walkthrough.network.layer_sizes) - 1
    if count == 1:
        return f"The network is one function f[h] = {layer}, with weights and biases."
    return (
        f"The network is {count} functions f[h] = {layer}, each with weights and biases of its own, and between "
        "them an activation a, element by element."
    )


def shape_rows(walkthrough: Walkthrough) -> list[tuple[Quantity, Quantity]]:
    """Every parameter and every unit beside its gradient."""
    quantities = walkthrough.walk.quantities
    keys = [
        key for letter in ("omega", "beta", "f", "h") for key in quantities if key.startswith(f"{letter}_")
    ]
    return [(quantities[key], quantities[f"dl_d{key}"]) for key in keys if f"dl_d{key}" in quantities]


@dataclass(frozen=True)
class Shown:
    """A matrix with what stands before it: an expression, and words that go on."""

    symbol: Expression
    words: str
    values: NDArray[Any]


def first_quirk(walkthrough: Walkthrough, most_slices: int) -> tuple[str, list[Shown], list[Shown]]:
    """What is to be said, some slices of the tensor, and its sum over them beside the outer product."""
    quirks, notation = walkthrough.quirks, walkthrough.walk.notation
    f, h, omega, by_f = _letters(walkthrough)
    outputs, inputs = quirks.omega.shape
    outer = notation.outer(by_f, h)
    tensor = Derivative(f, omega)
    cut = (
        f"Of {as_text(f)} and {as_text(h)} only the first {outputs} and {inputs} are taken. "
        if quirks.cut
        else ""
    )
    text = cut + (
        f"How {as_text(f)} changes with {as_text(omega)} is a tensor with three axes, ({outputs}, {outputs}, "
        f"{inputs}): the output o, and the row and column of the weight. Output o reads only row o of "
        f"{as_text(omega)}, so slice o has {as_text(h)} in its row o and zeros elsewhere. Summed over o with "
        f"{as_text(by_f)}{_sample(walkthrough)}, the zeros fall away, and what is left is {as_text(outer)}: "
        f"{outputs * inputs:,} numbers instead of {outputs * outputs * inputs:,}."
    )
    slices = [Shown(tensor, f"slice {o}", each) for o, each in enumerate(quirks.by_omega[:most_slices])]
    sums = [
        Shown(tensor, f"summed with {as_text(by_f)}", quirks.contracted),
        Shown(outer, _sample(walkthrough).strip(), quirks.outer),
    ]
    return text, slices, sums


def second_quirk(walkthrough: Walkthrough) -> tuple[str, list[Shown]]:
    """What is to be said, the Jacobian beside the weights, and both ways to the derivative by h."""
    quirks, notation = walkthrough.quirks, walkthrough.walk.notation
    f, h, omega, by_f = _letters(walkthrough)
    outputs, inputs = quirks.omega.shape
    text = (
        f"How {as_text(f)} changes with {as_text(h)} is {as_text(omega)} itself, ({outputs}, {inputs}). The chain rule "
        f"sums over the outputs, which are its rows: {as_text(by_f)} as a row, (1, {outputs}), times "
        f"({outputs}, {inputs}) fits and gives (1, {inputs}). "
    ) + (_of_columns(walkthrough) if notation.columns else _of_rows(walkthrough))
    row = Transposed(by_f) if notation.columns else by_f
    sample = _sample(walkthrough).strip()
    return text, [
        Shown(Derivative(f, h), "", quirks.by_h),
        Shown(omega, "", quirks.omega),
        Shown(Product(row, Derivative(f, h)), sample, quirks.vector_jacobian[np.newaxis]),
        Shown(notation.back(omega, by_f), sample, notation.of_vector(quirks.back)),
    ]


def products_that_fit(walkthrough: Walkthrough) -> list[list[str]]:
    """The shapes of the products that one may think of, and which of them can be."""
    omega, by_f = map(as_text, _letters(walkthrough)[2:])
    outputs, inputs = walkthrough.quirks.omega.shape
    tries = [
        (f"{by_f} as a row, {omega}", (1, outputs), (outputs, inputs)),
        (f"{omega}\N{MODIFIER LETTER CAPITAL T}, {by_f} as a column", (inputs, outputs), (outputs, 1)),
        (f"{omega}, {by_f} as a column", (outputs, inputs), (outputs, 1)),
        (f"{by_f} as a row, {omega}\N{MODIFIER LETTER CAPITAL T}", (1, outputs), (inputs, outputs)),
    ]
    rows = [["factors", "shapes", "product"]]
    for place, (factors, left, right) in enumerate(tries):
        result = (
            f"({left[0]}, {right[1]})" if left[1] == right[0] else f"does not fit: {left[1]} meets {right[0]}"
        )
        if left[1] == right[0] and place > 1:
            result += ", but wrong: the layer is square"
        rows.append([factors, f"{left} {right}", result])
    return rows


def _letters(walkthrough: Walkthrough) -> tuple[Expression, Expression, Expression, Expression]:
    """f, h, Omega and dL/df of the layer on which the quirks are shown."""
    f, h, omega, by_f = (
        walkthrough.walk.quantities[f"{name}_{walkthrough.quirks.layer}"].symbol
        for name in ("f", "h", "omega", "dl_df")
    )
    return f, h, omega, by_f


def _sample(walkthrough: Walkthrough) -> str:
    return "" if walkthrough.walk.notation.batch == 1 else " of the first sample"


def _of_columns(walkthrough: Walkthrough) -> str:
    outputs, inputs = walkthrough.quirks.omega.shape
    return (
        f"With samples as columns all of it is transposed, ({inputs}, {outputs}) times ({outputs}, 1) gives "
        f"({inputs}, 1), and that is where the transpose comes from."
    )


def _of_rows(walkthrough: Walkthrough) -> str:
    outputs, inputs = walkthrough.quirks.omega.shape
    return (
        "With samples as rows that is the backward pass as it stands, and the transpose is in the forward pass: "
        f"(1, {inputs}) times ({inputs}, {outputs})."
    )


def cost_lines(walkthrough: Walkthrough) -> tuple[str, list[list[str]]]:
    """A sentence and a table."""
    cost = walkthrough.cost
    text = (
        "Multiplications for one sample. Every bracket is computed once, and read by its layer's gradients and by the "
        f"next bracket. A chain of its own for each of the {cost.parameters:,} parameters, from the top down to it, "
        f"would take {cost.factor:,.1f} times as many as the backward pass."
    )
    if len(walkthrough.network.layer_sizes) == 2:
        text = "Multiplications for one sample. With a single layer there is no bracket to be used again."
    return text, [
        ["", "multiplications"],
        ["forward", f"{cost.forward:,}"],
        ["backward, brackets reused", f"{cost.backward:,}"],
        ["  of these for the gradients of weights", f"{cost.for_weights:,}"],
        ["  of these through weights", f"{cost.for_units:,}"],
        ["  of these through activations", f"{cost.for_slopes:,}"],
        ["a chain for every parameter", f"{cost.one_by_one:,}"],
        ["two forward passes for every parameter", f"{cost.differences:,}"],
    ]


def check_lines(walkthrough: Walkthrough) -> tuple[str, list[list[str]]]:
    """A sentence and a table."""
    checks = walkthrough.checks
    single = checks[0].numeric is not None
    what = (
        "by every parameter"
        if single
        else "along a direction with the signs of the gradient, for each array,"
    )
    text = (
        f"The slope {what} by (L(p + h v) - L(p - h v)) / 2h extrapolated to h = 0 in float64, which knows nothing of "
        "the chain rule. Differences are relative to the array's largest gradient, and shown where they are largest."
    )
    rows = [["", "gradient", "by differences", "relative", "tolerance", ""]]
    for check in checks:
        symbol = as_text(walkthrough.walk.quantities[check.key].symbol)
        taken = [number(check.own), number(check.measured), f"{check.difference:.1e}"]
        verdict = {None: "not checked", True: "agrees", False: "DIFFERS"}[check.passed]
        if check.at_kinks:
            verdict += f", {check.at_kinks} at a kink left out"
        rows.append(
            [symbol, *(["", "", ""] if check.passed is None else taken), f"{check.tolerance:.0e}", verdict]
        )
    return text, rows
