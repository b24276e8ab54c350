"""Forward and backward on flat memory, in which every layer has its place, by BLAS's products.

`layers` (K + 1, 8), int64, has a row for each layer: D_k, D_{k+1}, where Omega_k and beta_k begin in the parameters
and the gradients, where f_k and h_{k+1} begin in `units`, for B rows, and the addresses of the activation and its
gradient; the last layer's is the identity. dL/df_k lies in `errors` where f_k lies in `units`. blas: as in `products`.

Several threads may compute one pass, each of some rows; gradients may be taken over all of them then, each thread those
of some outputs.
"""

from __future__ import annotations

from typing import Any

from gpu_mlp.backends.compiled.machine_code import call, loop_formula
from gpu_mlp.backends.compiled.products import multiply_back, multiply_forward, multiply_gradient
from gpu_mlp.backends.records import Array

__all__ = ["backward", "forward", "gradients_of", "matrix"]

COLUMNS = 8
INPUTS, OUTPUTS, OMEGA, BETA, F, H, ACTIVATION, GRADIENT = range(COLUMNS)


@loop_formula
def matrix(flat: Array, start: int, rows: int, columns: int) -> Array:
    """The (rows, columns) that begin at `start`."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@loop_formula
def forward(blas: Any, layers: Array, parameters: Array, x: Array, units: Array, first: int) -> None:
    """f_k = h_k Omega_k^T + beta_k, h_{k+1} = a[f_k]; x (n, D_0) is h_0 of the rows from `first` on."""
    rows = x.shape[0]
    for k in range(len(layers)):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        omega = matrix(parameters, layers[k, OMEGA], outputs, inputs)
        beta = parameters[layers[k, BETA] : layers[k, BETA] + outputs]
        f = matrix(units, layers[k, F] + first * outputs, rows, outputs)
        if k == 0:
            multiply_forward(blas, x, omega, f)
        else:
            h_below = layers[k - 1, H] + first * inputs
            multiply_forward(blas, matrix(units, h_below, rows, inputs), omega, f)
        h = units[layers[k, H] + first * outputs :]
        where = f.ctypes.data, beta.ctypes.data, h.ctypes.data
        call(layers[k, ACTIVATION], (*where, rows, outputs))


@loop_formula
def backward(
    blas: Any, layers: Array, parameters: Array, units: Array, errors: Array, first: int, rows: int
) -> None:
    """dL/dh_k = dL/df_k Omega_k, dL/df_{k-1} = a'[f_{k-1}] dL/dh_k, from dL/df_K on, which stands in `errors`."""
    for k in range(len(layers) - 1, 0, -1):
        inputs, outputs = layers[k, INPUTS], layers[k, OUTPUTS]
        dl_df = matrix(errors, layers[k, F] + first * outputs, rows, outputs)
        below = matrix(errors, layers[k - 1, F] + first * inputs, rows, inputs)
        multiply_back(blas, dl_df, matrix(parameters, layers[k, OMEGA], outputs, inputs), below)
        f_below = units[layers[k - 1, F] + first * inputs :]
        call(layers[k - 1, GRADIENT], (f_below.ctypes.data, below.ctypes.data, below.size))


@loop_formula
def sum_rows(d: Array, out: Array, first: int, last: int, add: bool) -> None:
    """out (O,) <- sum over the rows of d (B, O), or out and that, of the outputs from `first` to `last`"""
    if not add:
        out[first:last] = 0
    for b in range(d.shape[0]):
        for o in range(first, last):
            out[o] += d[b, o]


@loop_formula
def gradients_of(
    blas: Any,
    layers: Array,
    k: int,
    x: Array,
    units: Array,
    errors: Array,
    gradients: Array,
    row: int,
    first: int,
    last: int,
    add: bool,
) -> None:
    """dL/dbeta_k = sum over b of dL/df_k, dL/dOmega_k = dL/df_k^T h_k, of the outputs from `first` to `last`.

    Over the rows x (n, D_0), the first of which is number `row`; or what stands there and that.
    """
    rows, inputs, outputs = x.shape[0], layers[k, INPUTS], layers[k, OUTPUTS]
    dl_df = matrix(errors, layers[k, F] + row * outputs, rows, outputs)
    dl_domega = matrix(gradients, layers[k, OMEGA], outputs, inputs)
    sum_rows(dl_df, gradients[layers[k, BETA] : layers[k, BETA] + outputs], first, last, add)
    if k == 0:
        multiply_gradient(blas, dl_df, x, dl_domega, first, last, add)
    else:
        h = matrix(units, layers[k - 1, H] + row * inputs, rows, inputs)
        multiply_gradient(blas, dl_df, h, dl_domega, first, last, add)
