"""The sentences of a walkthrough, which every format tells in its own way."""

from __future__ import annotations

import numpy as np

from gpu_mlp.explanation.quantities import Quantity
from gpu_mlp.explanation.steps import Part
from gpu_mlp.explanation.walkthrough import Walkthrough
from gpu_mlp.explanation.written_as_text import as_text

__all__ = [
    "CHAIN",
    "PARTS",
    "check_lines",
    "composition_text",
    "cost_lines",
    "opening",
    "quirk_texts",
    "shape_rows",
]

FORWARD = (
    "Every layer weights what it is given, adds biases, and bends the sum by its activation. All that is computed on "
    "the way up is kept, for the way down needs it."
)
BACKWARD = (
    "The chain rule from the top: each derivative is a local one, of this layer alone, times the bracket that the "
    "step before has computed already."
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
    samples = "one sample" if notation.batch == 1 else f"{notation.batch} samples"
    laid = {"columns": "a column", "rows": "a row"}[notation.name]
    return (
        f"One step of back-propagation in the network {walkthrough.name} ({names}; "
        f"{network.parameter_count} parameters) for {samples}, each {laid}, with the loss "
        f"{walkthrough.loss.name}. All numbers are those that gpu_mlp computes in {network.dtype} on {network.device}."
    )


def composition_text(walkthrough: Walkthrough) -> str:
    """What the letters of the composition stand for."""
    layer = "f[h] = \N{GREEK CAPITAL LETTER OMEGA} h + \N{GREEK SMALL LETTER BETA}"
    count = len(walkthrough.network.layer_sizes) - 1
    return (
        f"The network is {count} function{'s' if count > 1 else ''} {layer}, each with weights and biases of its own, "
        "and between them the activation a, element by element."
    )


def shape_rows(walkthrough: Walkthrough) -> list[tuple[Quantity, Quantity]]:
    """Every parameter and every unit beside its gradient."""
    quantities = walkthrough.walk.quantities
    keys = [
        key for letter in ("omega", "beta", "f", "h") for key in quantities if key.startswith(f"{letter}_")
    ]
    return [(quantities[key], quantities[f"dl_d{key}"]) for key in keys if f"dl_d{key}" in quantities]


def quirk_texts(walkthrough: Walkthrough) -> tuple[str, str]:
    """Of the first and of the second."""
    quirks, quantities = walkthrough.quirks, walkthrough.walk.quantities
    k = quirks.layer
    outputs, inputs = quirks.omega.shape
    f, h, omega = (as_text(quantities[f"{name}_{k}"].symbol) for name in ("f", "h", "omega"))
    sample = "" if walkthrough.walk.notation.batch == 1 else " of the first sample"
    cut = f"Of {f} and {h} only the first {outputs} and {inputs} are taken here. " if quirks.cut else ""
    first = cut + (
        f"How {f} changes with {omega} is a tensor with three axes, ({outputs}, {outputs}, {inputs}): the output o, "
        f"and the row and column of the weight. Output o reads only row o of {omega}, so slice o has {h} in its row o "
        f"and zeros elsewhere. Summed over o with dL/d{f}{sample}, the zeros fall away, and what is left is dL/d{f} "
        f"times {h} transposed: {outputs * inputs:,} numbers instead of {outputs * outputs * inputs:,}."
    )
    second = (
        f"How {f} changes with {h} is {omega} itself, ({outputs}, {inputs}). The chain rule sums over the outputs, "
        f"which are its rows: dL/d{f} as a row, (1, {outputs}), times ({outputs}, {inputs}) fits and gives "
        f"(1, {inputs}). "
    )
    return first, second + (
        _of_columns(walkthrough) if walkthrough.walk.notation.columns else _of_rows(walkthrough)
    )


def _of_columns(walkthrough: Walkthrough) -> str:
    outputs, inputs = walkthrough.quirks.omega.shape
    without = (
        "fits here only because the layer is square, and gives wrong numbers"
        if inputs == outputs
        else f"does not fit: {inputs} columns meet {outputs} rows"
    )
    return (
        f"With samples as columns all of it is transposed, ({inputs}, {outputs}) times ({outputs}, 1) gives "
        f"({inputs}, 1), and that is where the transpose comes from. Without it ({outputs}, {inputs}) times "
        f"({outputs}, 1) {without}."
    )


def _of_rows(walkthrough: Walkthrough) -> str:
    outputs, inputs = walkthrough.quirks.omega.shape
    without = (
        "would fit here only because the layer is square, and give wrong numbers"
        if inputs == outputs
        else f"does not fit: {outputs} columns meet {inputs} rows"
    )
    return (
        "With samples as rows that is the backward pass as it stands, and the transpose is in the forward pass: "
        f"(1, {inputs}) times ({inputs}, {outputs}). A transpose on the way back, (1, {outputs}) times ({inputs}, "
        f"{outputs}), {without}."
    )


def cost_lines(walkthrough: Walkthrough) -> tuple[str, list[list[str]]]:
    """A sentence and a table."""
    cost = walkthrough.cost
    text = (
        "Multiplications for one sample. Every bracket is computed once and read twice, by its layer's gradients and "
        f"by the next bracket. A chain of its own for each of the {cost.parameters:,} parameters would take "
        f"{cost.factor:,.1f} times as many."
    )
    return text, [
        ["", "multiplications"],
        ["forward", f"{cost.forward:,}"],
        ["backward, brackets reused", f"{cost.backward:,}"],
        ["a chain for every parameter", f"{cost.one_by_one:,}"],
        ["two forward passes for every parameter", f"{cost.differences:,}"],
    ]


def check_lines(walkthrough: Walkthrough) -> tuple[str, list[list[str]]]:
    """A sentence and a table."""
    checks = walkthrough.checks
    single = checks[0].numeric is not None
    what = "of every parameter" if single else "along one random direction for each array of parameters"
    text = (
        f"The slope {what}, by (L(p + h v) - L(p - h v)) / 2h extrapolated to h = 0 in float64, which knows nothing of "
        "the chain rule. Differences are relative to the largest gradient of the array."
    )
    rows = [["", "largest difference", "tolerance", ""]]
    for check in checks:
        symbol = as_text(walkthrough.walk.quantities[check.key].symbol)
        found = "none taken" if np.isnan(check.difference) else f"{check.difference:.1e}"
        verdict = "not checked" if np.isnan(check.difference) else "agrees" if check.passed else "DIFFERS"
        if check.at_kinks:
            verdict += f", {check.at_kinks} at a kink left out"
        rows.append([symbol, found, f"{check.tolerance:.0e}", verdict])
    return text, rows
