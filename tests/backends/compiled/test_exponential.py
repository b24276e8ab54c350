"""exp and its like against NumPy's in extended precision, over their whole range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.records import Array

pytest.importorskip("numba", reason="Numba is not installed")

import numba

from gpu_mlp.backends.compiled import exponential
from gpu_mlp.backends.compiled.machine_code import OPTIONS

TYPES = ("float32", "float64")
SMALL = np.concatenate([np.geomspace(1e-30, 1.0, 999), [0.0]])
# Where exp is a normal number: a little less than from log(tiny) to log(max).
RANGE = {"float32": (-87.3, 88.3), "float64": (-708.3, 709.4)}


def applied(formula: Callable[..., Any], x: Array) -> Array:
    """The formula of every number, as a loop makes it."""

    @numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
    def loop(given: Array, out: Array) -> None:
        for i in range(given.size):
            out[i] = formula(given[i])

    out = np.full_like(x, np.nan)
    loop(x, out)
    return out


def numbers(dtype: str) -> Array:
    low, high = RANGE[dtype]
    return np.concatenate([np.linspace(low, high, 100_001), SMALL, -SMALL]).astype(dtype)


def worst(found: Array, expected: Any) -> float:
    """The largest relative distance in units of the type's rounding."""
    distance = np.abs(found - expected) / np.maximum(np.abs(expected), np.finfo(found.dtype).tiny)
    return float(distance.max() / np.finfo(found.dtype).eps)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("exp", np.exp),
        ("expm1", np.expm1),
        ("sigmoid", lambda x: 1.0 / (1.0 + np.exp(-x))),
        ("tanh", np.tanh),
    ],
)
def test_it_is_exact_to_two_roundings(name: str, exact: Callable[..., Any], dtype: str) -> None:
    x = numbers(dtype)
    x = x[x <= 0] if name == "expm1" else x
    found = applied(getattr(exponential, name), x)
    assert found.dtype == dtype
    assert worst(found, exact(x.astype(np.longdouble))) < 2.5


@pytest.mark.parametrize("dtype", TYPES)
def test_beyond_its_range_exp_is_zero_or_infinite_and_nan_stays(dtype: str) -> None:
    low, high = RANGE[dtype]
    x = np.array([low - 2.0, -1e30, -np.inf, high + 2.0, 1e30, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(applied(exponential.exp, x), [0, 0, 0, *[np.inf] * 3, np.nan])
    np.testing.assert_array_equal(applied(exponential.sigmoid, x), [0, 0, 0, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(applied(exponential.tanh, x), [-1, -1, -1, 1, 1, 1, np.nan])


@pytest.mark.parametrize("dtype", TYPES)
def test_tanh_is_odd_and_exact_at_zero(dtype: str) -> None:
    x = numbers(dtype)
    np.testing.assert_array_equal(applied(exponential.tanh, -x), -applied(exponential.tanh, x))
    assert applied(exponential.tanh, np.zeros(1, dtype))[0] == 0.0
