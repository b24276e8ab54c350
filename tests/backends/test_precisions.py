"""Rounded factors: the rounding against ml_dtypes and NumPy, every backend beside NumPy's, and the loss's scale."""

from __future__ import annotations

from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, ROUNDED_PRECISIONS, Array, Ops
from gpu_mlp.backends.fused.products import DotProducts
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.reference.precisions import rounding
from gpu_mlp.errors import DeviceError
from tests.backends.precision_checks import (
    check_ends,
    check_growth,
    check_layers,
    check_loss_scale,
    check_rows,
    check_stored_rounded,
    check_to_factors,
    loss_scale,
)

# Halfway cases, both ends of every range, numbers that only float32 has, and none at all.
EDGES = np.array(
    [
        *(0, -0.0, 1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11),
        *(65504, 65519.9, 65520, -65520, 65536, 2.0**-24, 2.0**-25, 1.5 * 2.0**-25, 6e-5),
        *(1e-38, 1e-40, 3.3e38, 3.4e38, np.inf, -np.inf, np.nan),
    ],
    np.float32,
)


def numbers() -> Array:
    """Edges, and random bits: every exponent and sign."""
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, np.uint32)
    return np.concatenate([EDGES, bits.view(np.float32)])


def rounded(precision: str, values: Array) -> Array:
    out = values.copy()
    rounding(np, precision)(out)
    return out


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", ml_dtypes.bfloat16), ("fp16", np.float16)])
def test_half_types_are_rounded_as_their_own_libraries_round(precision: str, dtype: Any) -> None:
    values = numbers()
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(rounded(precision, values), expected)


def test_tf32_keeps_eleven_bits_and_ties_go_to_even() -> None:
    one, unit = np.float32(1), np.float32(2**-10)
    given = np.array([one, one + unit, one + unit / 2, one + 3 * unit / 2, one + unit * 0.51, 1e-30, 3e38])
    expected = [1, 1 + 2**-10, 1, 1 + 2 * 2**-10, 1 + 2**-10]
    result = rounded("tf32", given.astype(np.float32))
    np.testing.assert_array_equal(result[:5], np.array(expected, np.float32))
    np.testing.assert_allclose(result[5:], given[5:], rtol=2**-11)


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_rounding_twice_is_rounding_once_and_never_farther_than_half_a_unit(precision: str) -> None:
    values = numbers()
    values = values[np.isfinite(values) & (abs(values) > 1e-4) & (abs(values) < 6e4)]
    once = rounded(precision, values)
    np.testing.assert_array_equal(rounded(precision, once), once)
    half_unit = 2.0 ** -{"tf32": 11, "bf16": 8, "fp16": 11}[precision]
    assert np.all(abs(once - values) <= half_unit * abs(values))
    assert np.any(once != values)


def test_no_warning_comes_of_a_number_too_large_for_half_precision() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(rounded("fp16", np.array([1e9, -1e9], np.float32)), [np.inf, -np.inf])


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_layers_agree_with_numpys(ops: Ops, precision: str, name: str) -> None:
    check_layers(ops, precision, [name])


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_every_factor_is_stored_rounded(precision: str) -> None:
    check_stored_rounded(numpy_ops(), precision, rounding(np, precision))


@pytest.mark.parametrize("precision", ROUNDED_PRECISIONS)
def test_mini_batches_and_factors_are_rounded_to_the_bit(ops: Ops, precision: str) -> None:
    check_rows(ops, precision)
    check_to_factors(ops, precision)


def test_the_scale_of_the_loss_agrees_with_numpys(ops: Ops) -> None:
    check_loss_scale(ops, "float32")


def test_the_scale_is_halved_by_overflow_and_doubled_after_many_good_steps(ops: Ops) -> None:
    xp = ops.xp
    state, scratch = loss_scale(ops, 8.0), xp.empty(3, np.float32)

    def after(*gradients: float) -> tuple[float, int, int]:
        g = ops.to_device(np.array(gradients, np.float32))
        with np.errstate(over="ignore", invalid="ignore"):
            ops.unscale_gradients(g, state, scratch)
        return float(state.scale), int(state.steps), int(state.skip)

    assert after(8.0, 0.0, -4.0) == (8.0, 1, 0)
    assert after(8.0, np.inf, -4.0) == (4.0, 0, 1)
    assert after(8.0, np.nan, -4.0) == (2.0, 0, 1)
    assert int(state.skipped) == 2
    check_growth(ops)


def test_the_scale_of_the_loss_has_two_ends(ops: Ops) -> None:
    check_ends(ops)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adam", "lion"])
def test_a_skipped_update_changes_nothing(ops: Ops, name: str) -> None:
    constants: dict[str, dict[str, float]] = {
        "sgd": {"momentum": 0.9, "dampening": 0.0, "nesterov": 0.0},
        "rmsprop": {"alpha": 0.9, "epsilon": 1e-8, "momentum": 0.0},
        "adagrad": {"learning_rate_decay": 0.0, "epsilon": 1e-8},
        "adam": {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "epsilon_hat": 0.0},
        "lion": {"beta1": 0.9, "beta2": 0.99},
    }
    xp = ops.xp
    p, g, scratch = (xp.full(37, value, np.float32) for value in (1.0, np.inf, 0.0))
    state = [xp.full(37, 0.5, np.float32) for _ in range(2 if name == "adam" else 1)]
    what = {"learning_rate": 0.1, "step": 2, "weight_decay": 0.1, "decoupled": 1.0, **constants[name]}
    getattr(ops, name)(p, g, state, scratch, skip=xp.ones((), np.int32), **what)
    for array, value in ((p, 1.0), *((each, 0.5) for each in state)):
        np.testing.assert_array_equal(ops.to_host(array), value)
    getattr(ops, name)(p, xp.ones_like(g), state, scratch, skip=xp.zeros((), np.int32), **what)
    assert (ops.to_host(p) < 1.0).all()


def test_products_of_the_array_module_alone_are_refused() -> None:
    with pytest.raises(
        DeviceError, match=r"precision 'bf16' on CUDA needs cuBLASLt.*pip install nvmath-python"
    ):
        DotProducts(np).in_precision("bf16")


def test_every_rounded_precision_is_another_backend(ops: Ops) -> None:
    dtypes = {precision: ops.in_precision(precision).factor_dtype for precision in ROUNDED_PRECISIONS}
    if ops.name in ("cuda", "cuda-emulated"):
        assert dtypes == {"tf32": None, "bf16": ml_dtypes.bfloat16, "fp16": np.float16}
    else:
        assert dtypes == dict.fromkeys(ROUNDED_PRECISIONS, np.float32)


def test_the_same_numbers_are_not_all_exact(ops: Ops) -> None:
    """The negative control: without rounding the checks above would not pass."""
    for precision, check in product(("bf16", "fp16"), (check_rows, check_to_factors)):
        with pytest.raises(AssertionError):
            check(numpy_ops(), precision, reference=ops)
