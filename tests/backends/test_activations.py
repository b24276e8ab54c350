"""Every activation and its derivative: against PyTorch's and SciPy's over the whole range of a type."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from gpu_mlp.backends.base import ACTIVATION_NAMES, GRADIENT_FROM_H, Array, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.records import LayerBelow, LayerScratch
from tests.backends.guards import GuardedMemory
from tests.network.torch_networks import ACTIVATIONS

DTYPES = ("float32", "float64")


def wide_range(dtype: str, *, denormals: bool = True) -> Array:
    """±1e4, both zeros, the smallest numbers, and everything between on a logarithmic scale.

    Without denormals for a GPU, which takes those of float32 as 0.
    """
    information = np.finfo(dtype)
    smallest = information.smallest_subnormal if denormals else information.tiny
    special = [0.0, smallest, information.tiny, 1e-30, 1e-10, 0.01, 1.0, 1e4]
    near = np.linspace(-12, 12, 601)
    powers = np.logspace(-6, 4, 101)
    far = [88.0, 88.5, 89.0, 103.0, 104.0, 709.0, 710.0, 744.0, 746.0]
    values = np.concatenate([near, powers, far, special])
    return np.concatenate([values, -values]).astype(dtype)


def apply(
    ops: Ops, memory: GuardedMemory, name: str, values: Array, dl_dh: Array | None = None
) -> tuple[Array, Array]:
    """h = a[f] by layer_forward and dL/df = a'[f] dL/dh by layer_backward, on guarded memory.

    A layer of one unit with weight 1 and bias 0 makes f the input itself; another such one hands dL/dh down.
    """
    xp, dtype, rows = ops.xp, values.dtype, len(values)
    x = ops.to_device(values[:, None])
    one, zero, ones = xp.ones((1, 1), dtype), xp.zeros(1, dtype), xp.ones(rows, dtype)
    f, h, dl_df, out_dh = (memory(rows, 1, dtype=dtype) for _ in range(4))
    scratch = LayerScratch(memory(rows, 1, dtype=dtype), memory(rows, 1, dtype=bool), ones)
    ops.layer_forward(x, one, zero, name, f, h, scratch, None)
    np.testing.assert_array_equal(ops.to_host(f)[:, 0], values)
    above = xp.ones((rows, 1), dtype) if dl_dh is None else ops.to_device(dl_dh[:, None])
    below = LayerBelow(f=f, h=h, activation=name, dl_dh=out_dh, dl_df=dl_df, scratch=scratch, traced=True)
    kept = h.copy()
    ops.layer_backward(above, h, one, scratch, memory(1, 1, dtype=dtype), memory(1, dtype=dtype), below)
    np.testing.assert_array_equal(ops.to_host(f)[:, 0], values)  # the backward pass reads f and h only
    np.testing.assert_array_equal(ops.to_host(h), ops.to_host(kept))
    return np.array(ops.to_host(h))[:, 0], np.array(ops.to_host(dl_df))[:, 0]


def by_torch(name: str, values: Array) -> tuple[Array, Array]:
    """a[f] and a'[f] in float64."""
    f = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    h = ACTIVATIONS[name](f)
    h.sum().backward()  # type: ignore[no-untyped-call]
    assert f.grad is not None
    return h.detach().numpy(), f.grad.numpy()


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_derivatives_are_those_of_torch(
    ops: Ops, memory: GuardedMemory, name: str, dtype: str
) -> None:
    values = wide_range(dtype, denormals=ops.name in ("numpy", "cuda-emulated"))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        h, derivative = apply(ops, memory, name, values)
    expected, slope = by_torch(name, values)
    epsilon = float(np.finfo(dtype).eps)
    assert h.dtype == derivative.dtype == np.dtype(dtype)
    # A few units in the last place, beside cancellation next to the zeros of a function or its derivative.
    np.testing.assert_allclose(h, expected, rtol=8 * epsilon, atol=8 * epsilon)
    np.testing.assert_allclose(derivative, slope, rtol=8 * epsilon, atol=32 * epsilon)


@pytest.mark.parametrize("name", GRADIENT_FROM_H)
def test_f_may_be_the_memory_of_h_and_dl_dh_that_of_dl_df(ops: Ops, memory: GuardedMemory, name: str) -> None:
    """As in a training step, with the bits of a traced pass."""
    values = wide_range("float32", denormals=ops.name in ("numpy", "cuda-emulated"))
    rows, xp = len(values), ops.xp
    expected = apply(ops, memory, name, values)
    one, ones = xp.ones((1, 1), np.float32), xp.ones(rows, np.float32)
    h, dl_df = memory(rows, 1, dtype="float32"), memory(rows, 1, dtype="float32")
    scratch = LayerScratch(memory(rows, 1, dtype="float32"), memory(rows, 1, dtype=bool), ones)
    x = ops.to_device(values[:, None])
    ops.layer_forward(x, one, xp.zeros(1, np.float32), name, h, h, scratch, None)
    np.testing.assert_array_equal(ops.to_host(h)[:, 0], expected[0])
    below = LayerBelow(f=h, h=h, activation=name, dl_dh=dl_df, dl_df=dl_df, scratch=scratch)
    parameters = memory(1, 1, dtype="float32"), memory(1, dtype="float32")
    ops.layer_backward(xp.ones((rows, 1), np.float32), h, one, scratch, *parameters, below)
    np.testing.assert_array_equal(ops.to_host(dl_df)[:, 0], expected[1])


@pytest.mark.parametrize("name", ["elu", "sigmoid", "silu", "softplus", "tanh"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_results_keep_their_relative_precision(
    ops: Ops, memory: GuardedMemory, name: str, dtype: str
) -> None:
    """exp(f) - 1 next to 0 and log(1 + exp(f)) far to the left lose every digit if computed like that."""
    near_zero = -np.logspace(-30, 0, 61)
    far_left = np.linspace(-80, 0, 161)
    values = np.concatenate([near_zero, far_left]).astype(dtype)
    h, _ = apply(ops, memory, name, values)
    expected, _ = by_torch(name, values)
    # The exponential of -80 itself has a relative error of 80 units of its argument's last place.
    np.testing.assert_allclose(h, expected, rtol=100 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_far_left_and_far_right_are_the_limits(ops: Ops, memory: GuardedMemory, name: str) -> None:
    h, derivative = apply(ops, memory, name, np.array([-1e4, 1e4]))
    limits = {
        "identity": (-1e4, 1e4, 1.0, 1.0),
        "relu": (0.0, 1e4, 0.0, 1.0),
        "leaky_relu": (-100.0, 1e4, 0.01, 1.0),
        "elu": (-1.0, 1e4, 0.0, 1.0),
        "sigmoid": (0.0, 1.0, 0.0, 0.0),
        "tanh": (-1.0, 1.0, 0.0, 0.0),
    }
    expected = limits.get(name, (0.0, 1e4, 0.0, 1.0))  # gelu, silu, softplus
    np.testing.assert_allclose([*h, *derivative], expected, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_zeros_are_treated_alike(ops: Ops, memory: GuardedMemory, name: str, dtype: str) -> None:
    h, derivative = apply(ops, memory, name, np.array([0.0, -0.0], dtype))
    assert h[0] == h[1]
    assert derivative[0] == derivative[1]


def test_the_derivative_of_relu_at_zero_is_zero(ops: Ops, memory: GuardedMemory) -> None:
    """The textbook's convention, for both zeros; next to them it is 0 and 1."""
    smallest = np.finfo("float64").smallest_subnormal
    h, derivative = apply(ops, memory, "relu", np.array([0.0, -0.0, smallest, -smallest]))
    np.testing.assert_array_equal(derivative, [0.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(h, [0.0, 0.0, smallest, 0.0])


def test_leaky_relu_and_elu_at_zero(ops: Ops, memory: GuardedMemory) -> None:
    """leaky_relu takes the slope of its left side there, as torch does; elu is smooth."""
    assert apply(ops, memory, "leaky_relu", np.zeros(1))[1][0] == 0.01
    assert apply(ops, memory, "elu", np.zeros(1))[1][0] == 1.0


def test_scipys_functions_agree_too(ops: Ops, memory: GuardedMemory) -> None:
    """A second witness for those that SciPy has."""
    values = wide_range("float64")
    for name, expected in (
        ("sigmoid", scipy.special.expit(values)),
        ("silu", values * scipy.special.expit(values)),
        ("softplus", np.logaddexp(0.0, values)),
        ("gelu", values * scipy.special.ndtr(values)),
        ("elu", np.where(values > 0, values, np.expm1(np.minimum(values, 0)))),
    ):
        h, _ = apply(ops, memory, name, values)
        np.testing.assert_allclose(h, expected, rtol=1e-14, atol=2e-16 * 12)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_the_gradient_is_the_derivative_times_what_comes_down(
    ops: Ops, memory: GuardedMemory, name: str
) -> None:
    rng = np.random.default_rng(0)
    values, dl_dh = rng.normal(0, 2, 127), rng.normal(size=127)
    _, derivative = apply(ops, memory, name, values)
    _, product = apply(ops, memory, name, values, dl_dh)
    np.testing.assert_allclose(product, derivative * dl_dh, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_nan_and_infinity_are_not_hidden(ops: Ops, memory: GuardedMemory, name: str) -> None:
    """A loss that stops being finite must show it, whatever activation lies between."""
    with np.errstate(all="ignore"):
        h, _ = apply(ops, memory, name, np.array([np.nan]))
        unbounded, _ = apply(ops, memory, name, np.array([np.inf]))
    assert np.isnan(h[0])
    if name not in ("sigmoid", "tanh"):
        assert not np.isfinite(unbounded[0])


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_complex_values_carry_the_derivative_as_their_imaginary_part(name: str) -> None:
    """What the complex step rests on: a[f + i h] = a[f] + i h a'[f] for a tiny h."""
    ops = numpy_ops()
    values = np.linspace(-6, 6, 48)
    f = (values + 1e-30j)[:, None]
    h = np.full_like(f, np.nan)
    scratch = LayerScratch(np.full_like(f, np.nan), np.ones(f.shape, bool), np.ones(48, complex))
    ops.layer_forward(f, np.ones((1, 1), complex), np.zeros(1, complex), name, f.copy(), h, scratch, None)
    expected, slope = by_torch(name, values)
    np.testing.assert_allclose(h[:, 0].real, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(h[:, 0].imag / 1e-30, slope, rtol=1e-12, atol=1e-14)


def test_every_activation_has_its_torch_counterpart() -> None:
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES
