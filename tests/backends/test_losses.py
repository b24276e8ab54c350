"""The loss primitives: against PyTorch's losses and SciPy's functions, stable far out, in their memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

from gpu_mlp.backends.base import LOSS_NAMES, Array, Ops
from gpu_mlp.backends.records import LossScratch
from gpu_mlp.config import Loss
from tests.backends.guards import GuardedMemory
from tests.network.random_networks import random_loss, random_targets
from tests.network.torch_networks import mean_loss

SHAPES = [(1, 1), (1, 2), (2, 1), (3, 7), (31, 33), (32, 32), (33, 31), (127, 3), (2, 129)]


def apply(
    ops: Ops, memory: GuardedMemory, loss: Loss, f: Array, y: Array, share: Array | None = None
) -> tuple[float, Array]:
    """The primitive on guarded memory that is NaN everywhere it may write."""
    rows, outputs = f.shape
    dtype = f.dtype
    scratch = LossScratch(
        values=memory(rows, outputs, dtype=dtype),
        targets=memory(rows, outputs, dtype=dtype),
        row=memory(rows, 1, dtype=dtype),
        row_sum=memory(rows, dtype=dtype),
        ones=ops.xp.ones(outputs, dtype),
        classes=ops.xp.arange(outputs, dtype=ops.xp.int64)[None, :],
    )
    share = np.full(rows, 1 / rows) if share is None else share
    inputs = [
        ops.to_device(array) for array in (f, y if y.ndim == 1 else y.astype(dtype), share.astype(dtype))
    ]
    before = [array.copy() for array in (*inputs, scratch.ones, scratch.classes)]
    value, dl_df = memory(dtype=dtype), memory(rows, outputs, dtype=dtype)
    getattr(ops, loss.name)(*inputs, value, dl_df, scratch, **loss.parameters)
    for array, copy in zip((*inputs, scratch.ones, scratch.classes), before, strict=True):
        np.testing.assert_array_equal(ops.to_host(array), ops.to_host(copy))  # only outputs are written
    assert dl_df.dtype == dtype
    return float(value), np.array(ops.to_host(dl_df))


def by_torch(loss: Loss, f: Array, y: Array, weight: Array | None = None) -> tuple[float, Array]:
    """Value and gradient in float64."""
    outputs = torch.tensor(f, dtype=torch.float64, requires_grad=True)
    value = mean_loss(loss, outputs, torch.tensor(y), None if weight is None else torch.tensor(weight))
    value.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    return value.item(), outputs.grad.numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_gradient_are_those_of_torch(
    ops: Ops, memory: GuardedMemory, name: str, shape: tuple[int, int], dtype: str
) -> None:
    rng = np.random.default_rng([*shape, *name.encode()])
    for weighted in (False, True):
        loss = random_loss(rng, name)
        f = rng.normal(0, 3, shape).astype(dtype)
        y = random_targets(rng, name, *shape)
        y = y if y.ndim == 1 else y.astype(dtype).astype(float)
        weight = rng.uniform(0.1, 2, shape[0]) if weighted else np.ones(shape[0])
        value, dl_df = apply(ops, memory, loss, f, y, weight / weight.sum())
        expected, gradient = by_torch(loss, f, y, weight)
        tolerance = 1e-13 if dtype == "float64" else 5e-6
        scale = np.abs(gradient).max()
        assert value == pytest.approx(expected, rel=tolerance, abs=tolerance)
        np.testing.assert_allclose(dl_df, gradient, rtol=tolerance, atol=max(scale, 0.01) * tolerance)


def extreme_outputs(dtype: str, outputs: int) -> Array:
    """Every sign pattern of 0 and ±1e4 that matters, in rows."""
    rng = np.random.default_rng(0)
    values = [1e4, -1e4, 0.0, 1.0, 88.7, -88.7, 103.9, -103.9, 709.7, -709.7, 745.2, -745.2]
    f = rng.choice(values, (64, outputs))
    f[0], f[1], f[2] = 1e4, -1e4, 0.0
    return f.astype(dtype)


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_far_out_values_stay_finite_without_a_warning(
    ops: Ops, memory: GuardedMemory, name: str, dtype: str, outputs: int
) -> None:
    rng = np.random.default_rng(1)
    f = extreme_outputs(dtype, outputs)
    for _ in range(4):
        y = random_targets(rng, name, len(f), outputs)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            value, dl_df = apply(ops, memory, random_loss(rng, name), f, y)
        assert np.isfinite(value)
        assert np.isfinite(dl_df).all()


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out_values_are_right(ops: Ops, memory: GuardedMemory, name: str, dtype: str) -> None:
    """Where the true value fits the type, it is what comes out. poisson's continuation has its own test."""
    rng = np.random.default_rng(2)
    f = extreme_outputs(dtype, 3)
    if name == "poisson":
        f = np.minimum(f, 50.0).astype(dtype)
    loss, y = random_loss(rng, name), random_targets(rng, name, len(f), 3)
    y = y if y.ndim == 1 else y.astype(dtype).astype(float)
    for row in range(len(f)):
        labels = y[row : row + 1]
        value, dl_df = apply(ops, memory, loss, f[row : row + 1], labels)
        expected, gradient = by_torch(loss, f[row : row + 1], labels)
        tolerance = 1e-13 if dtype == "float64" else 2e-6
        assert value == pytest.approx(expected, rel=tolerance, abs=tolerance)
        np.testing.assert_allclose(dl_df, gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("f", [-1e4, -30.0, 0.0, 49.9, 50.0, 50.1, 1e4])
def test_poisson_goes_on_along_its_tangent_above_50(ops: Ops, memory: GuardedMemory, f: float) -> None:
    value, dl_df = apply(ops, memory, Loss("poisson"), np.array([[f]]), np.array([[3.0]]))
    rate = np.exp(min(f, 50.0))
    assert value == pytest.approx(rate * (1 + f - min(f, 50.0)) - 3.0 * f, rel=1e-14)
    assert dl_df[0, 0] == pytest.approx(rate - 3.0, rel=1e-14)


def test_binary_cross_entropy_agrees_with_scipy(ops: Ops, memory: GuardedMemory) -> None:
    """-y log expit(f) - (1 - y) log expit(-f), by SciPy's log_expit."""
    rng = np.random.default_rng(3)
    f, y = rng.normal(0, 30, (33, 7)), rng.random((33, 7))
    value, dl_df = apply(ops, memory, Loss("binary_cross_entropy"), f, y)
    terms = -y * scipy.special.log_expit(f) - (1 - y) * scipy.special.log_expit(-f)
    assert value == pytest.approx(terms.sum(axis=1).mean(), rel=1e-13)
    np.testing.assert_allclose(dl_df, (scipy.special.expit(f) - y) / 33, rtol=1e-12, atol=1e-15)


def test_binary_cross_entropy_of_sure_and_right_logits_keeps_its_digits(
    ops: Ops, memory: GuardedMemory
) -> None:
    """log(1 + exp(-40)) is exp(-40), not the logarithm of a rounded 1."""
    for f in (10.0, 40.0, 80.0):
        for sign, y in ((1, 1.0), (-1, 0.0)):
            value, _ = apply(
                ops, memory, Loss("binary_cross_entropy"), np.array([[sign * f]]), np.array([[y]])
            )
            assert value == pytest.approx(np.log1p(np.exp(-f)), rel=1e-13, abs=0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_softmax_cross_entropy_agrees_with_scipy(ops: Ops, memory: GuardedMemory, smoothing: float) -> None:
    rng = np.random.default_rng(4)
    f, labels = rng.normal(0, 30, (33, 7)), rng.integers(0, 7, 33)
    targets = (1 - smoothing) * np.eye(7)[labels] + smoothing / 7
    loss = Loss("softmax_cross_entropy", label_smoothing=smoothing)
    for y in (labels, np.eye(7)[labels]):
        value, dl_df = apply(ops, memory, loss, f, y)
        assert value == pytest.approx(-(targets * scipy.special.log_softmax(f, 1)).sum(1).mean(), rel=1e-13)
        np.testing.assert_allclose(dl_df, (scipy.special.softmax(f, 1) - targets) / 33, atol=1e-16)


def test_one_class_has_no_loss_and_no_gradient(ops: Ops, memory: GuardedMemory) -> None:
    value, dl_df = apply(
        ops, memory, Loss("softmax_cross_entropy"), np.array([[3.0], [-1e4]]), np.array([0, 0])
    )
    assert value == 0.0
    assert not dl_df.any()


def test_kinks_have_the_gradient_zero_that_the_docstrings_promise(ops: Ops, memory: GuardedMemory) -> None:
    f = np.array([[2.0], [-0.0]])
    y = np.array([[2.0], [0.0]])
    _, absolute = apply(ops, memory, Loss("absolute_error"), f, y)
    _, huber = apply(ops, memory, Loss("huber"), f, y)
    _, median = apply(ops, memory, Loss("quantile"), f, y)
    for dl_df in (absolute, huber, median):
        assert not dl_df.any()


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_quantile_loss_is_least_at_the_quantile(ops: Ops, memory: GuardedMemory, q: float) -> None:
    y = np.random.default_rng(5).normal(size=(101, 1))

    def value(constant: float) -> float:
        return apply(ops, memory, Loss("quantile", quantile=q), np.full_like(y, constant), y)[0]

    best = float(np.quantile(y, q, method="inverted_cdf"))
    assert value(best) < min(value(best - 0.01), value(best + 0.01))


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_whole_weights_are_repeated_rows(ops: Ops, memory: GuardedMemory, name: str) -> None:
    rng = np.random.default_rng([6, *name.encode()])
    loss = random_loss(rng, name)
    f, y = rng.normal(size=(9, 4)), random_targets(rng, name, 9, 4)
    counts = np.array([1, 3, 2, 1, 1, 4, 1, 2, 1])
    value, dl_df = apply(ops, memory, loss, f, y, counts / counts.sum())
    repeated, gradient = apply(ops, memory, loss, np.repeat(f, counts, 0), np.repeat(y, counts, 0))
    assert value == pytest.approx(repeated, rel=1e-13)
    ends = np.cumsum(counts)
    sums = np.array([gradient[end - count : end].sum(0) for end, count in zip(ends, counts, strict=True)])
    np.testing.assert_allclose(dl_df, sums, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_rows_of_weight_zero_are_as_if_removed(ops: Ops, memory: GuardedMemory, name: str) -> None:
    rng = np.random.default_rng([7, *name.encode()])
    loss = random_loss(rng, name)
    f, y = rng.normal(size=(9, 4)), random_targets(rng, name, 9, 4)
    weight = np.array([1.0, 0.0, 2.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0])
    kept = weight > 0
    value, dl_df = apply(ops, memory, loss, f, y, weight / weight.sum())
    fewer, gradient = apply(ops, memory, loss, f[kept], y[kept], weight[kept] / weight.sum())
    assert value == pytest.approx(fewer, rel=1e-14)
    assert not dl_df[~kept].any()
    np.testing.assert_array_equal(dl_df[kept], gradient)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_no_weight_at_all_gives_zero(ops: Ops, memory: GuardedMemory, name: str) -> None:
    rng = np.random.default_rng(8)
    f, y = rng.normal(size=(5, 4)), random_targets(rng, name, 5, 4)
    value, dl_df = apply(ops, memory, random_loss(rng, name), f, y, np.zeros(5))
    assert value == 0.0
    assert not dl_df.any()


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_a_loss_of_something_not_finite_is_not_finite(ops: Ops, memory: GuardedMemory, name: str) -> None:
    """Divergence is seen in the loss alone, so no loss may hide it."""
    f = np.full((3, 4), np.nan)
    y = random_targets(np.random.default_rng(9), name, 3, 4)
    with np.errstate(all="ignore"):
        value, _ = apply(ops, memory, Loss(name), f, y)
    assert not np.isfinite(value)


def test_every_loss_is_tested_with_every_kind_of_target() -> None:
    """A new loss needs its torch counterpart and its targets."""
    rng: Any = np.random.default_rng(0)
    for name in LOSS_NAMES:
        y = random_targets(rng, name, 2, 3)
        assert np.isfinite(by_torch(Loss(name), np.ones((2, 3)), y)[0])
