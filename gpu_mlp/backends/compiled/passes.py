"""Forward and backward on flat memory, in which every layer has its place.

`layers` (K + 1, 8), int64, has a row for each layer: D_k, D_{k+1}, where Omega_k and beta_k begin in the parameters
and the gradients, where f_k and h_{k+1} begin in `units`, for B rows, and the addresses of the activation and its
gradient; the last layer's is the identity. dL/df_k lies in `errors` where f_k lies in `units`. blas: as in `products`.
"""

from __future__ import annotations

from typing import Any

from gpu_mlp.backends.compiled.machine_code import call, loop_formula
from gpu_mlp.backends.compiled.products import multiply_back, multiply_forward, multiply_gradient
from gpu_mlp.backends.records import Array

__all__ = ["backward", "forward"]

INPUTS, OUTPUTS, OMEGA, BETA, F, H, ACTIVATION, GRADIENT = range(8)


@loop_formula
def matrix(flat: Array, start: int, rows: int, columns: int) -> Array:
    """The (rows, columns) that begin at `start`."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@loop_formula
def forward(blas: Any, layers: Array, parameters: Array, x: Array, units: Array) -> None:
    """f_k = h_k Omega_k^T + beta_k, h_{k+1} = a[f_k]; x (B, D_0) is h_0."""
    rows = x.shape[0]
    for k in range(len(layers)):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        omega = matrix(parameters, layers[k, OMEGA], outputs, inputs)
        beta = parameters[layers[k, BETA] : layers[k, BETA] + outputs]
        f = matrix(units, layers[k, F], rows, outputs)
        if k == 0:
            multiply_forward(blas, x, omega, f)
        else:
            multiply_forward(blas, matrix(units, layers[k - 1, H], rows, inputs), omega, f)
        h = units[layers[k, H] :]
        where = f.ctypes.data, beta.ctypes.data, h.ctypes.data
        call(layers[k, ACTIVATION], (*where, rows, outputs))


@loop_formula
def sum_rows(d: Array, out: Array) -> None:
    """out (O,) <- sum over the rows of d (B, O)"""
    out[:] = 0
    for b in range(d.shape[0]):
        for o in range(d.shape[1]):
            out[o] += d[b, o]


@loop_formula
def backward(
    blas: Any, layers: Array, parameters: Array, x: Array, units: Array, errors: Array, gradients: Array
) -> None:
    """From dL/df_K, which stands in `errors`: dL/dbeta_k, dL/dOmega_k, and dL/df_{k-1} = a'[f_{k-1}] dL/dh_k."""
    rows = x.shape[0]
    for k in range(len(layers) - 1, -1, -1):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        dl_df = matrix(errors, layers[k, F], rows, outputs)
        dl_domega = matrix(gradients, layers[k, OMEGA], outputs, inputs)
        sum_rows(dl_df, gradients[layers[k, BETA] : layers[k, BETA] + outputs])
        if k == 0:
            multiply_gradient(blas, dl_df, x, dl_domega)
            return
        h = matrix(units, layers[k - 1, H], rows, inputs)
        multiply_gradient(blas, dl_df, h, dl_domega)
        below = matrix(errors, layers[k - 1, F], rows, inputs)
        multiply_back(blas, dl_df, matrix(parameters, layers[k, OMEGA], outputs, inputs), below)
        f_below = units[layers[k - 1, F] :]
        call(layers[k - 1, GRADIENT], (f_below.ctypes.data, below.ctypes.data, below.size))
