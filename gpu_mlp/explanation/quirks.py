"""The two quirks of matrix calculus, shown on one layer and one sample with whole Jacobians.

Both Jacobians come from the package's own forward pass of the layer alone, which knows nothing of outer products and
transposes: f is linear in Omega and in h, so f of a single weight or unit of 1 is the derivative by it.
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

# Weights of a layer whose tensor is still computed whole, a forward pass for each, and how many outputs and inputs are
# left of a larger one.
MOST_WEIGHTS, CUT = 1 << 13, 16


@dataclass(frozen=True)
class Quirks:
    """Of layer k and the first sample; the layer is the one whose Jacobian has the fewest numbers.

    cut: whether only the first outputs and inputs of the layer were taken, for its whole tensor is too large.
    by_omega: df_k / dOmega_k as a tensor (O, O, I): how f_o changes with the weight of row p and column i.
    contracted: its sum over o with dL/df_o, (O, I). outer: dL/df h^T, (O, I). by_h: df_k / dh_k, (O, I).
    vector_jacobian: dL/df times by_h, (I,), and back: Omega^T dL/df, (I,). dl_df (O,), h (I,) and omega (O, I) as the
    network has them.
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
    back: Values

    @property
    def largest_difference(self) -> float:
        """Between what the tensors give and what the short forms give; rounding at most."""
        pairs = (self.contracted, self.outer), (self.by_h, self.omega), (self.vector_jacobian, self.back)
        return max(float(np.max(np.abs(one - other))) for one, other in pairs)


def show_quirks(ops: Ops, passes: Passes) -> Quirks:
    """On the layer with the smallest tensor, of two alike the upper one."""
    sizes = [outputs * outputs * inputs for outputs, inputs in (omega.shape for omega in passes.omega)]
    layer = min(range(len(sizes)), key=lambda k: (sizes[k], -k))
    omega, dl_df, h = passes.omega[layer], passes.dl_df[layer][0], passes.h[layer][0]
    cut = passes.omega[layer].size > MOST_WEIGHTS
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
        back=omega.T @ dl_df,
    )


def _jacobian_by_omega(ops: Ops, omega: Values, h: Values) -> Values:
    """(O, O, I): f without biases is linear in Omega, so f with a single weight of 1 is the derivative by it."""
    outputs, inputs = omega.shape
    row = ops.to_device(np.ascontiguousarray(h[np.newaxis, :]))
    forward = _LinearLayer(ops, 1, outputs, omega.dtype)
    tensor = np.empty((outputs, outputs, inputs), omega.dtype)
    for p in range(outputs):
        for i in range(inputs):
            single = np.zeros_like(omega)
            single[p, i] = 1.0
            tensor[:, p, i] = forward(row, ops.to_device(single))[0]
    return tensor


def _jacobian_by_h(ops: Ops, omega: Values) -> Values:
    """(O, I): f without biases is linear in h, too, so f of every unit vector is a column."""
    outputs, inputs = omega.shape
    units = ops.xp.eye(inputs, dtype=omega.dtype)
    return np.array(_LinearLayer(ops, inputs, outputs, omega.dtype)(units, ops.to_device(omega)).T)


class _LinearLayer:
    """The package's forward pass of one layer for so many rows, without biases."""

    def __init__(self, ops: Ops, rows: int, outputs: int, dtype: Any) -> None:
        xp = ops.xp
        self._ops = ops
        self._f, self._zeros = xp.empty((rows, outputs), dtype), xp.zeros(outputs, dtype)
        self._scratch = LayerScratch(
            values=xp.empty((rows, outputs), dtype),
            mask=xp.empty((rows, outputs), bool),
            ones=xp.ones(rows, dtype),
            signs=None,
        )

    def __call__(self, h: Any, omega: Any) -> Values:
        self._ops.layer_forward(h, omega, self._zeros, "identity", self._f, None, self._scratch, None)
        return self._ops.to_host(self._f)
