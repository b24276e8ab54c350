"""The two quirks of matrix calculus, shown on one layer and one sample with whole Jacobians.

Both Jacobians come from the package's own layer: its backward pass of every unit vector gives, row by row, how f
changes with Omega, and its forward pass of every unit vector, column by column, how f changes with h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.records import LayerScratch
from gpu_mlp.explanation.passes import Passes

__all__ = ["Quirks", "show_quirks"]

Values = NDArray[Any]

# Numbers of a tensor that is still computed whole, and how many outputs and inputs are left of a larger one.
LARGEST_TENSOR, CUT = 1 << 22, 16


@dataclass(frozen=True)
class Quirks:
    """Of layer k and the first sample; the layer is the one whose Jacobian has the fewest numbers.

    cut: whether only the first outputs and inputs of the layer were taken, for its whole tensor is too large.
    by_omega: df_k / dOmega_k as a tensor (O, O, I): how f_o changes with the weight of row p and column i.
    contracted: its sum over o with dL/df_o, (O, I). outer: dL/df h^T, (O, I). by_h: df_k / dh_k, (O, I).
    vector_jacobian: dL/df times by_h, (I,). dl_df (O,), h (I,) and omega (O, I) as the network has them.
    """

    layer: int
    cut: bool
    omega: Values
    dl_df: Values
    h: Values
    by_omega: Values
    contracted: Values
    outer: Values
    by_h: Values
    vector_jacobian: Values

    @property
    def largest_difference(self) -> float:
        """Between what the tensors give and what the short forms give; rounding at most."""
        back = self.omega.T @ self.dl_df
        pairs = (self.contracted, self.outer), (self.by_h, self.omega), (self.vector_jacobian, back)
        return max(float(np.max(np.abs(one - other))) for one, other in pairs)


def show_quirks(ops: Ops, passes: Passes) -> Quirks:
    """On the layer with the smallest tensor, of two alike the upper one."""
    sizes = [outputs * outputs * inputs for outputs, inputs in (omega.shape for omega in passes.omega)]
    layer = min(range(len(sizes)), key=lambda k: (sizes[k], -k))
    omega, dl_df, h = passes.omega[layer], passes.dl_df[layer][0], passes.h[layer][0]
    cut = sizes[layer] > LARGEST_TENSOR
    if cut:
        omega = np.ascontiguousarray(omega[:CUT, :CUT])
        dl_df, h = dl_df[: len(omega)], h[: omega.shape[1]]
    by_omega = _jacobian_by_omega(ops, omega, h)
    by_h = _jacobian_by_h(ops, omega)
    return Quirks(
        layer=layer,
        cut=cut,
        omega=omega,
        dl_df=dl_df,
        h=h,
        by_omega=by_omega,
        contracted=np.einsum("o,opi->pi", dl_df, by_omega),
        outer=np.outer(dl_df, h),
        by_h=by_h,
        vector_jacobian=dl_df @ by_h,
    )


def _jacobian_by_omega(ops: Ops, omega: Values, h: Values) -> Values:
    """(O, O, I): for every output o the gradient of f_o alone."""
    outputs, inputs = omega.shape
    xp = ops.xp
    weights, row = ops.to_device(omega), ops.to_device(h[np.newaxis, :].copy())
    scratch = _scratch(ops, 1, outputs, omega.dtype)
    gradient, biases = xp.empty((outputs, inputs), omega.dtype), xp.empty(outputs, omega.dtype)
    tensor = np.empty((outputs, outputs, inputs), omega.dtype)
    for o, unit in enumerate(xp.eye(outputs, dtype=omega.dtype)):
        ops.layer_backward(unit[None, :], row, weights, scratch, gradient, biases, None)
        tensor[o] = ops.to_host(gradient)
    return tensor


def _jacobian_by_h(ops: Ops, omega: Values) -> Values:
    """(O, I): f of every unit vector, without biases, is a column."""
    outputs, inputs = omega.shape
    xp = ops.xp
    units, f = xp.eye(inputs, dtype=omega.dtype), xp.empty((inputs, outputs), omega.dtype)
    scratch = _scratch(ops, inputs, outputs, omega.dtype)
    zeros = xp.zeros(outputs, omega.dtype)
    ops.layer_forward(units, ops.to_device(omega), zeros, "identity", f, None, scratch, None)
    return np.array(ops.to_host(f).T)


def _scratch(ops: Ops, rows: int, width: int, dtype: Any) -> LayerScratch:
    xp = ops.xp
    return LayerScratch(
        values=xp.empty((rows, width), dtype),
        mask=xp.empty((rows, width), bool),
        ones=xp.ones(rows, dtype),
        signs=None,
    )
