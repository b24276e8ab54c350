"""Forward and backward where layers are so narrow that BLAS takes longer to prepare a product than to compute it.

The batch lies unit by unit: x, f_k and h_k are (D, B), so that a processor's vectors are of one unit and many rows.
Everything else is as in `passes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_mlp.backends.compiled.machine_code import call, like, loop_formula, sum_formula
from gpu_mlp.backends.compiled.passes import (
    ACTIVATION,
    BETA,
    GRADIENT,
    INPUTS,
    OMEGA,
    OUTPUTS,
    F,
    H,
    matrix,
)
from gpu_mlp.backends.records import Array

__all__ = ["narrow_backward", "narrow_forward", "narrow_gradients"]


@loop_formula
def add_up(factors: Array, h: Array, first: int, last: int, out: Array) -> None:
    """out (n,) <- sum over i of factors (I,) times h (I, B), of the columns from `first` to `last`"""
    inputs = len(factors)
    factor, h_b = factors[0], h[0, first:last]
    for b in range(out.size):
        out[b] = factor * h_b[b]
    for i in range(1, inputs - 1, 2):
        one, two = factors[i], factors[i + 1]
        h_b, next_b = h[i, first:last], h[i + 1, first:last]
        for b in range(out.size):
            out[b] += one * h_b[b] + two * next_b[b]
    if inputs > 1 and inputs % 2 == 0:
        factor, h_b = factors[inputs - 1], h[inputs - 1, first:last]
        for b in range(out.size):
            out[b] += factor * h_b[b]


@loop_formula
def narrow_forward(
    layers: Array, parameters: Array, x: Array, units: Array, first: int, last: int, scratch: Array
) -> None:
    """f_k = Omega_k h_k + beta_k, h_{k+1} = a[f_k] of the columns from `first` to `last`; x (D_0, B) is h_0.

    scratch has room for those columns.
    """
    h, rows = x, x.shape[1]
    for k in range(len(layers)):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        omega = matrix(parameters, layers[k, OMEGA], outputs, inputs)
        f = matrix(units, layers[k, F], outputs, rows)
        h_next = matrix(units, layers[k, H], outputs, rows)
        for o in range(outputs):
            f_b, h_b = f[o, first:last], h_next[o, first:last]
            add_up(omega[o], h, first, last, f_b)
            scratch[:] = parameters[layers[k, BETA] + o]
            where = f_b.ctypes.data, scratch.ctypes.data, h_b.ctypes.data
            call(layers[k, ACTIVATION], (*where, 1, f_b.size))
        h = h_next


@loop_formula
def narrow_backward(
    layers: Array, parameters: Array, units: Array, errors: Array, first: int, last: int, rows: int
) -> None:
    """dL/dh_k = Omega_k^T dL/df_k, dL/df_{k-1} = a'[f_{k-1}] dL/dh_k of the columns from `first` to `last`."""
    for k in range(len(layers) - 1, 0, -1):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        omega = matrix(parameters, layers[k, OMEGA], outputs, inputs)
        transposed = np.ascontiguousarray(omega.T)
        dl_df = matrix(errors, layers[k, F], outputs, rows)
        f_below = matrix(units, layers[k - 1, F], inputs, rows)
        below = matrix(errors, layers[k - 1, F], inputs, rows)
        for i in range(inputs):
            f_b, d_b = f_below[i, first:last], below[i, first:last]
            add_up(transposed[i], dl_df, first, last, d_b)
            call(layers[k - 1, GRADIENT], (f_b.ctypes.data, d_b.ctypes.data, d_b.size))


@sum_formula
def dot(a: Array, b: Array) -> Any:
    """sum over i of a_i b_i"""
    total = like(a[0], 0.0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@sum_formula
def total_of(a: Array) -> Any:
    """sum over i of a_i"""
    total = like(a[0], 0.0)
    for i in range(a.size):
        total += a[i]
    return total


@loop_formula
def narrow_gradients(
    layers: Array, x: Array, units: Array, errors: Array, gradients: Array, first: int, last: int, add: bool
) -> None:
    """dL/dbeta_k = sum over b of dL/df_k, dL/dOmega_k = dL/df_k h_k^T, of the columns from `first` to `last`.

    Or what stands there and that.
    """
    h, rows = x, x.shape[1]
    for k in range(len(layers)):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        dl_df = matrix(errors, layers[k, F], outputs, rows)
        dl_domega = matrix(gradients, layers[k, OMEGA], outputs, inputs)
        dl_dbeta = gradients[layers[k, BETA] : layers[k, BETA] + outputs]
        if not add:
            dl_domega[:] = 0
            dl_dbeta[:] = 0
        for o in range(outputs):
            d_b = dl_df[o, first:last]
            dl_dbeta[o] += total_of(d_b)
            for i in range(inputs):
                dl_domega[o, i] += dot(d_b, h[i, first:last])
        h = matrix(units, layers[k, H], outputs, rows)
