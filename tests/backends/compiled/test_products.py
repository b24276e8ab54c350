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


def multiplied(
    formula: Callable[..., None], address: int, first: Array, second: Array, out: Array, *rest: Any
) -> Array:
    """The product as a compiled pass asks for it."""

    @numba.njit  # type: ignore[untyped-decorator]
    def multiply(address: int, first: Array, second: Array, out: Array, rest: Any) -> None:
        formula(products.blas_at(address, out[0, 0]), first, second, out, *rest)

    multiply(address, first, second, out, rest)
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
        cases: list[tuple[Any, Array, Array, Array, tuple[Any, ...]]] = [
            (products.multiply_forward, h, omega, h @ omega.T, ()),
            (products.multiply_gradient, dl_df, h, dl_df.T @ h, (0, outputs, False)),
            (products.multiply_back, dl_df, omega, dl_df @ omega, ()),
        ]
        for formula, first, second, expected, rest in cases:
            unread = np.full_like(expected, np.nan)  # which BLAS must not read
            found = multiplied(formula, gemm, first, second, unread, *rest)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def test_a_gradient_of_some_outputs_leaves_the_others_and_adds_where_it_should() -> None:
    rng = np.random.default_rng(0)
    h, dl_df = rng.integers(-3, 4, (9, 5)).astype(float), rng.integers(-3, 4, (9, 12)).astype(float)
    for add in (False, True):
        expected = np.full((12, 5), 2.0)
        expected[4:11] = (dl_df.T @ h)[4:11] + (2.0 if add else 0.0)
        found = multiplied(
            products.multiply_gradient,
            products.gemm_address("float64"),
            dl_df,
            h,
            np.full((12, 5), 2.0),
            4,
            11,
            add,
        )
        np.testing.assert_array_equal(found, expected)


def test_numpys_library_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_info

    paths = [each["filepath"] for each in threadpool_info() if each["user_api"] == "blas"]
    if products.numpys_blas(paths) is None:
        pytest.skip("this NumPy has no BLAS of its own")
    assert address("float32", "numpy", monkeypatch) != address("float32", "scipy", monkeypatch)
