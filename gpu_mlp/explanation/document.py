"""An explanation as plain data, for machines and for tests.

Schema 1, JSON:

    schema      1
    network     layer_sizes, activations, dtype, device, parameters
    loss        name and its parameters, factor, reported
    notation    "columns" or "rows"; batch: how many samples
    composition the network as functions within functions: text and latex
    chain       dL/df_0 as brackets within brackets: text and latex; null without hidden layers
    quantities  key -> symbol, latex, name, kind ("given", "forward", "backward"), computed_in (number of a step, or
                null), shape, sample_axis (or null), unit_names (of a model with columns, else empty), values (rows of
                numbers). Keys: h_k, omega_k, beta_k, y, f_k, p, loss, dl_df_k, dl_dh_k, slope_k, dl_domega_k and
                dl_dbeta_k
    steps       number, part ("forward", "loss", "backward", "gradients"), title, equation, latex, rule (or null),
                remark, result (a key), factors: symbol, key, shape, role ("local derivative", "bracket", "kept" or ""),
                computed_in
    shapes      of every parameter and unit: key, shape, gradient_key, gradient_shape
    quirks      layer, cut (whether only its first outputs and inputs were taken), h, dl_df, omega, by_omega (O, O, I),
                contracted, outer, by_h, vector_jacobian, back, largest_difference
    cost        multiplications for a sample: forward, backward (for_weights, for_units and for_slopes together),
                one_by_one, differences; parameters, factor
    check       key -> own and measured (where they are farthest apart), difference (relative), passed (these null where
                none could be taken), tolerance, at_kinks, numeric (in the notation's shape; null where only a direction
                was taken)
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.explanation.derivative_check import ArrayCheck
from gpu_mlp.explanation.expressions import Equation
from gpu_mlp.explanation.quantities import Notation, Quantity
from gpu_mlp.explanation.steps import Step, Walk
from gpu_mlp.explanation.story import shape_rows
from gpu_mlp.explanation.walkthrough import Walkthrough
from gpu_mlp.explanation.written_as_text import as_text
from gpu_mlp.explanation.written_in_latex import as_latex

__all__ = ["SCHEMA", "as_data"]

SCHEMA = 1


def as_data(walkthrough: Walkthrough) -> dict[str, Any]:
    """As the schema describes it; numbers are exact."""
    network, walk, loss = walkthrough.network, walkthrough.walk, walkthrough.loss
    return {
        "schema": SCHEMA,
        "network": {
            "layer_sizes": list(network.layer_sizes),
            "activations": list(network.activations),
            "dtype": network.dtype,
            "device": network.device,
            "parameters": network.parameter_count,
        },
        "loss": {"name": loss.name, **loss.parameters, "factor": loss.factor, "reported": loss.reported},
        "notation": walk.notation.name,
        "batch": walk.notation.batch,
        "composition": _equation(walk.composition),
        "chain": None if walk.chain is None else _equation(walk.chain),
        "quantities": {key: _quantity(quantity) for key, quantity in walk.quantities.items()},
        "steps": [_step(step, walk) for step in walk.steps],
        "shapes": [
            {"key": of.key, "shape": list(of.shape), "gradient_key": by.key, "gradient_shape": list(by.shape)}
            for of, by in shape_rows(walkthrough)
        ],
        "quirks": {name: _plain(value) for name, value in vars(walkthrough.quirks).items()}
        | {"largest_difference": walkthrough.quirks.largest_difference},
        "cost": {
            **asdict(walkthrough.cost),
            "backward": walkthrough.cost.backward,
            "factor": walkthrough.cost.factor,
        },
        "check": {check.key: _check(check, walk.notation) for check in walkthrough.checks},
    }


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _equation(equation: Equation) -> dict[str, str]:
    return {"text": as_text(equation), "latex": as_latex(equation)}


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {
        "symbol": as_text(quantity.symbol),
        "latex": as_latex(quantity.symbol),
        "name": quantity.name,
        "kind": quantity.kind,
        "computed_in": quantity.step,
        "shape": list(quantity.shape),
        "sample_axis": quantity.sample_axis,
        "unit_names": list(quantity.unit_names),
        "values": quantity.values.tolist(),
    }


def _step(step: Step, walk: Walk) -> dict[str, Any]:
    return {
        "number": step.number,
        "part": step.part,
        "title": step.title,
        "equation": as_text(step.equation),
        "latex": as_latex(step.equation),
        "rule": None if step.rule is None else as_text(step.rule),
        "remark": step.remark,
        "result": step.result,
        "factors": [
            {
                "symbol": as_text(factor.symbol),
                "key": factor.key,
                "shape": list(factor.shape),
                "role": factor.role,
                "computed_in": walk.quantities[factor.key].step,
            }
            for factor in step.factors
        ],
    }


def _check(check: ArrayCheck, notation: Notation) -> dict[str, Any]:
    numeric = check.numeric
    if numeric is not None and numeric.ndim == 1:
        numeric = notation.of_vector(numeric)
    return {
        **{
            name: None if np.isnan(getattr(check, name)) else getattr(check, name)
            for name in ("own", "measured", "difference")
        },
        "tolerance": check.tolerance,
        "passed": check.passed,
        "at_kinks": check.at_kinks,
        "numeric": None if numeric is None else _without_nan(numeric),
    }


def _without_nan(values: NDArray[Any]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]
