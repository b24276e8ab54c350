"""Steps, each an equation with what it reads and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpu_mlp.explanation.expressions import Equation, Expression
from gpu_mlp.explanation.quantities import Notation, Quantity

__all__ = ["Factor", "Part", "Step", "Walk"]

Part = Literal["forward", "loss", "backward", "gradients"]


@dataclass(frozen=True)
class Factor:
    """What a step reads: a quantity, transposed or not, and what it is there.

    role: "local derivative", "bracket" (what was computed already), "kept" (from the way up), or "".
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
    """All quantities by their keys, in the order in which they come, and all steps.

    composition: the network as functions within functions. chain: dL/df_0 as brackets within brackets; None without
    hidden layers.
    """

    notation: Notation
    quantities: dict[str, Quantity]
    steps: tuple[Step, ...]
    composition: Equation
    chain: Equation | None
