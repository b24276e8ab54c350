"""The products of a layer by BLAS's gemm, called by its address.

BLAS's matrices lie column by column, so that a (rows, columns) of ours is its (columns, rows), transposed:

    f = h Omega^T is f^T = Omega h^T,    dL/dOmega = dL/df^T h is dL/dOmega^T = h^T dL/df,    dL/dh = dL/df Omega

It is NumPy's BLAS where that can be found, so that one library with one pool of threads computes, and else SciPy's.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numba.extending import get_cython_function_address

from gpu_mlp.backends.blas_threads import numpys_blas
from gpu_mlp.backends.compiled.machine_code import call, loop_formula
from gpu_mlp.backends.records import Array

__all__ = ["blas_at", "gemm_address", "multiply_back", "multiply_forward", "multiply_gradient"]

PLAIN, TRANSPOSED = ord("N"), ord("T")


@cache
def gemm_address(dtype: str) -> int:
    """Of BLAS's sgemm or dgemm with Fortran's interface, whose whole numbers have 4 or 8 bytes."""
    name = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    from threadpoolctl import threadpool_info

    path = numpys_blas(each["filepath"] for each in threadpool_info() if each["user_api"] == "blas")
    known = None if path is None else ctypes.CDLL(path)
    for symbol in (f"scipy_{name}_64_", f"{name}_64_", f"{name}64_", f"scipy_{name}_", f"{name}_"):
        if hasattr(known, symbol):
            return int(ctypes.cast(getattr(known, symbol), ctypes.c_void_p).value or 0)
    return int(get_cython_function_address("scipy.linalg.cython_blas", name))


@loop_formula
def gemm(blas: Any, kinds: Any, sizes: Any, a: int, lda: int, b: int, ldb: int, c: int, add: bool) -> None:
    """c (m, n) <- a (m, k) b (k, n), or c + a b, column by column, each given by its address.

    blas: what `blas_at` gives. BLAS reads everything by its address, and
    of a whole number the lower half where its own have 4 bytes. The last two are the lengths of the kinds' names.
    """
    address, whole, factors = blas
    whole[0], whole[1] = kinds
    whole[2], whole[3], whole[4] = sizes
    whole[5], whole[6] = lda, ldb
    at, one, kept = whole.ctypes.data, factors.ctypes.data, factors[0 if add else 1 :].ctypes.data
    kind_a, kind_b, m, n, k, stride_a, stride_b = at, at + 8, at + 16, at + 24, at + 32, at + 40, at + 48
    call(address, (kind_a, kind_b, m, n, k, one, a, stride_a, b, stride_b, kept, c, m, 1, 1))


@loop_formula
def blas_at(address: int, number: Any) -> Any:
    """What the products below are given: gemm's address, and memory for its arguments of the number's type.

    Each thread has its own.
    """
    factors = np.empty(2, type(number))
    factors[0], factors[1] = 1, 0
    return address, np.empty(7, np.int64), factors


@loop_formula
def multiply_forward(blas: Any, h: Array, omega: Array, f: Array) -> None:
    """f (B, O) <- h (B, I) Omega^T, Omega (O, I)"""
    (rows, inputs), outputs = h.shape, len(omega)
    sizes = outputs, rows, inputs
    where = omega.ctypes.data, inputs, h.ctypes.data, inputs, f.ctypes.data
    gemm(blas, (TRANSPOSED, PLAIN), sizes, *where, False)


@loop_formula
def multiply_gradient(
    blas: Any, dl_df: Array, h: Array, dl_domega: Array, first: int, last: int, add: bool
) -> None:
    """dL/dOmega (O, I) <- dL/df^T h, or dL/dOmega and that, of the outputs from `first` to `last`.

    dL/df (B, O), h (B, I)
    """
    (rows, inputs), outputs = h.shape, dl_df.shape[1]
    sizes = inputs, last - first, rows
    errors, slopes = dl_df.reshape(dl_df.size)[first:].ctypes.data, dl_domega[first:].ctypes.data
    gemm(blas, (PLAIN, TRANSPOSED), sizes, h.ctypes.data, inputs, errors, outputs, slopes, add)


@loop_formula
def multiply_back(blas: Any, dl_df: Array, omega: Array, dl_dh: Array) -> None:
    """dL/dh (B, I) <- dL/df Omega, dL/df (B, O), Omega (O, I)"""
    (rows, outputs), inputs = dl_df.shape, omega.shape[1]
    sizes = inputs, rows, outputs
    where = omega.ctypes.data, inputs, dl_df.ctypes.data, outputs, dl_dh.ctypes.data
    gemm(blas, (PLAIN, PLAIN), sizes, *where, False)
