"""A layer's products by BLAS's address: NumPy's results, for odd shapes, by NumPy's library and by SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.records import Array

pytest.importorskip("numba", reason="Numba is not installed")

import numba

from gpu_mlp.backends.compiled import products

SHAPES = [(1, 1, 1), (1, 5, 3), (7, 1, 4), (7, 4, 1), (33, 31, 129), (128, 64, 10)]


def multiplied(formula: Callable[..., None], address: int, first: Array, second: Array, out: Array) -> Array:
    """The product as a compiled pass asks for it."""

    @numba.njit  # type: ignore[untyped-decorator]
    def multiply(address: int, whole: Array, factors: Array, first: Array, second: Array, out: Array) -> None:
        formula((address, whole, factors), first, second, out)

    out.fill(np.nan)  # which BLAS must not read
    multiply(address, np.empty(7, np.int64), np.array([1, 0], out.dtype), first, second, out)
    return out


def address(dtype: str, library: str, monkeypatch: pytest.MonkeyPatch) -> int:
    if library == "scipy":
        monkeypatch.setattr(products, "numpys_blas", lambda paths: None)
    found: int = products.gemm_address.__wrapped__(dtype)
    return found


@pytest.mark.parametrize("library", ["numpy", "scipy"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_the_three_products_are_numpys(
    dtype: str, tolerance: float, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = address(dtype, library, monkeypatch)
    rng = np.random.default_rng(0)
    for rows, inputs, outputs in SHAPES:
        h, omega, dl_df = (
            rng.normal(size=shape).astype(dtype)
            for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))
        )
        cases: list[tuple[Any, Array, Array, Array]] = [
            (products.multiply_forward, h, omega, h @ omega.T),
            (products.multiply_gradient, dl_df, h, dl_df.T @ h),
            (products.multiply_back, dl_df, omega, dl_df @ omega),
        ]
        for formula, first, second, expected in cases:
            found = multiplied(formula, gemm, first, second, np.empty_like(expected))
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def test_numpys_library_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_info

    paths = [each["filepath"] for each in threadpool_info() if each["user_api"] == "blas"]
    if products.numpys_blas(paths) is None:
        pytest.skip("this NumPy has no BLAS of its own")
    assert address("float32", "numpy", monkeypatch) != address("float32", "scipy", monkeypatch)
