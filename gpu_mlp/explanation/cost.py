"""What reusing the brackets saves: multiplications counted for a network, with them and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gpu_mlp.network.parameters import ParameterLayout

__all__ = ["Cost", "cost_of"]


@dataclass(frozen=True)
class Cost:
    """Multiplications for one sample.

    forward: of the forward pass. for_weights, for_units, for_slopes: of the backward pass with every bracket used where
    it was computed, for dL/dOmega, dL/dh and a' dL/dh.
    one_by_one: of as many derivatives as there are parameters, each from a chain of its own that begins at dL/df_K.
    differences: of two forward passes for each parameter, as finite differences need them.
    """

    parameters: int
    forward: int
    for_weights: int
    for_units: int
    for_slopes: int
    one_by_one: int
    differences: int

    @property
    def backward(self) -> int:
        """Of the backward pass."""
        return self.for_weights + self.for_units + self.for_slopes

    @property
    def factor(self) -> float:
        """How many times more the chains of their own take."""
        return self.one_by_one / self.backward


def cost_of(layer_sizes: Sequence[int]) -> Cost:
    """Counted as the equations say, dL/df_K given: a product of (O, I) with (I,) takes O I, and of two vectors O.

    Forward sum_k D_{k+1} D_k. Backward as much again for dL/dOmega_k, and for k > 0 for dL/dh_k, with D_k for a'.
    A derivative by one weight of layer k needs dL/df_{k+1} whole, through all layers above, then one element of
    dL/dh_{k+1}, of a' and of h_k: 1 multiplication in the last layer, and for a bias none.
    """
    shapes = list(pairwise(layer_sizes))
    forward = sum(inputs * outputs for inputs, outputs in shapes)
    for_units = sum(inputs * outputs for inputs, outputs in shapes[1:])
    for_slopes = sum(inputs for inputs, _ in shapes[1:])
    one_by_one = 0
    for k, (inputs, outputs) in enumerate(shapes):
        above = sum(i * o + i for i, o in shapes[k + 2 :])
        element = shapes[k + 1][1] + 1 if k + 1 < len(shapes) else 0
        one_by_one += outputs * (inputs * (above + element + 1) + above + element)
    parameters = ParameterLayout(tuple(layer_sizes)).parameter_count
    return Cost(parameters, forward, forward, for_units, for_slopes, one_by_one, 2 * parameters * forward)
