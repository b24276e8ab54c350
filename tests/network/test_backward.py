"""The backward pass and its trace against PyTorch's autograd, value by value."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, Array, Ops
from gpu_mlp.config import Loss
from gpu_mlp.errors import ShapeError
from gpu_mlp.network import losses
from gpu_mlp.network.losses import evaluate_loss
from gpu_mlp.network.network import Network
from tests.network.random_networks import Problem, every_pair, random_problem, random_targets
from tests.network.torch_networks import TorchResult, torch_result

TOLERANCE = {"float64": 1e-13, "float32": 3e-5}


def network_of(problem: Problem, device: str, dtype: Any = "float64") -> Network:
    """The problem's network behind the public class."""
    net = Network(problem.sizes, activation=problem.activations, dtype=dtype, device=device)
    net.set_parameters(problem.weights, problem.biases)
    return net


def assert_layers_close(
    ops: Ops, actual: list[Array] | Any, expected: list[Array], tolerance: float, what: str
) -> None:
    """Every layer within `tolerance` of its largest entry."""
    assert len(actual) == len(expected)
    for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
        scale = max(float(np.abs(e).max()), 1e-3)
        np.testing.assert_allclose(
            ops.to_host(a), e, rtol=tolerance, atol=tolerance * scale, err_msg=f"{what}[{k}]"
        )


def compare(net: Network, problem: Problem, expected: TorchResult, tolerance: float) -> None:
    """Every f, h, dL/df, dL/dh, dL/dOmega and dL/dbeta, and the loss."""
    ops = net.ops
    trace = net.forward(problem.x)
    y = ops.to_device(problem.y)
    y = y if y.ndim == 1 else y.astype(net.dtype)
    value, dl_df = evaluate_loss(ops, problem.loss, trace.output, y, problem.sample_weight)
    back = net.backward(trace, dl_df)
    assert float(value) == pytest.approx(expected.loss, rel=tolerance, abs=tolerance)
    assert_layers_close(ops, trace.f, expected.f, tolerance, "f")
    assert_layers_close(ops, trace.h, expected.h, tolerance, "h")
    assert_layers_close(ops, back.dl_df, expected.dl_df, tolerance, "dl_df")
    assert back.dl_dh[0] is None
    assert_layers_close(ops, back.dl_dh[1:], expected.dl_dh[1:], tolerance, "dl_dh")
    assert_layers_close(ops, back.weights, expected.dl_domega, tolerance, "dl_domega")
    assert_layers_close(ops, back.biases, expected.dl_dbeta, tolerance, "dl_dbeta")


@pytest.mark.parametrize(("activation", "loss"), every_pair())
def test_every_value_and_gradient_agrees_with_autograd(ops: Ops, activation: str, loss: str) -> None:
    rng = np.random.default_rng([ord(letter) for letter in loss + activation])
    for _ in range(2):
        problem = random_problem(rng, activation, loss)
        compare(network_of(problem, ops.device), problem, torch_result(problem), TOLERANCE["float64"])


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_float32_agrees_with_autograd_in_float64_to_single_precision(ops: Ops, activation: str) -> None:
    rng = np.random.default_rng([ord(letter) for letter in activation])
    problem = random_problem(rng, activation, "squared_error")
    compare(network_of(problem, ops.device, "float32"), problem, torch_result(problem), TOLERANCE["float32"])


@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1), (2, 4, 7, 3, 2), (127, 33, 31, 129, 1)])
@pytest.mark.parametrize("batch", [1, 2, 31, 32, 33, 127])
def test_odd_sizes_agree_with_autograd(ops: Ops, sizes: tuple[int, ...], batch: int) -> None:
    rng = np.random.default_rng([*sizes, batch])
    problem = Problem(
        sizes=sizes,
        activations=("silu",) * (len(sizes) - 2),
        loss=Loss("squared_error"),
        x=rng.normal(size=(batch, sizes[0])),
        y=random_targets(rng, "squared_error", batch, sizes[-1]),
        sample_weight=None,
        weights=[rng.normal(size=(o, i)) / np.sqrt(i) for i, o in pairwise(sizes)],
        biases=[rng.normal(size=o) for o in sizes[1:]],
    )
    compare(network_of(problem, ops.device), problem, torch_result(problem), TOLERANCE["float64"])


def test_integer_networks_are_exact(ops: Ops) -> None:
    """Whole numbers below 2^24 are exact in float32, and so are their products and sums."""
    rng = np.random.default_rng(8)
    net = Network((5, 7, 3), activation="relu", dtype="float32", device=ops.device)
    omega = [rng.integers(-4, 5, shape) for shape in ((7, 5), (3, 7))]
    beta = [rng.integers(-4, 5, width) for width in (7, 3)]
    net.set_parameters(omega, beta)
    x, dl_df = rng.integers(-4, 5, (31, 5)), rng.integers(-4, 5, (31, 3))
    trace = net.forward(x)
    back = net.backward(trace, dl_df)
    f0 = x @ omega[0].T + beta[0]
    h1 = np.maximum(f0, 0)
    dl_df0 = (dl_df @ omega[1]) * (f0 > 0)
    for actual, expected in (
        (trace.f[0], f0),
        (trace.h[1], h1),
        (trace.output, h1 @ omega[1].T + beta[1]),
        (back.weights[1], dl_df.T @ h1),
        (back.biases[1], dl_df.sum(axis=0)),
        (back.dl_dh[1], dl_df @ omega[1]),
        (back.dl_df[0], dl_df0),
        (back.weights[0], dl_df0.T @ x),
        (back.biases[0], dl_df0.sum(axis=0)),
    ):
        np.testing.assert_array_equal(ops.to_host(actual), expected)


def test_a_backward_pass_leaves_the_trace_and_the_parameters_as_they_were(ops: Ops) -> None:
    net = Network((3, 5, 4, 2), activation="gelu", dtype="float64", device=ops.device)
    x = np.random.default_rng(0).normal(size=(7, 3))
    trace = net.forward(x)
    before = [array.copy() for array in (*trace.f, *trace.h, net.parameters.flat)]
    _, dl_df = losses.softmax_cross_entropy(trace.output, np.arange(7) % 2)
    kept = dl_df.copy()
    first = net.backward(trace, dl_df)
    second = net.backward(trace, dl_df)
    for array, copy in zip((*trace.f, *trace.h, net.parameters.flat), before, strict=True):
        np.testing.assert_array_equal(ops.to_host(array), ops.to_host(copy))
    np.testing.assert_array_equal(ops.to_host(dl_df), ops.to_host(kept))
    np.testing.assert_array_equal(ops.to_host(first.flat), ops.to_host(second.flat))
    assert first.flat is not second.flat


def test_the_padding_of_the_gradient_buffer_is_zero(ops: Ops) -> None:
    """Norms and updates run over the whole buffer, so what lies between the layers must add nothing."""
    net = Network((3, 5, 1), dtype="float64", device=ops.device)
    trace = net.forward(np.ones((4, 3)))
    back = net.backward(trace, np.ones((4, 1)))
    total = sum(float((g * g).sum()) for g in (*back.weights, *back.biases))
    assert float((back.flat * back.flat).sum()) == pytest.approx(total, rel=1e-14)


def test_the_gradient_of_the_first_layers_input_is_not_computed() -> None:
    net = Network((3, 2), device="cpu")
    back = net.backward(net.forward(np.ones((4, 3))), np.ones((4, 2)))
    assert back.dl_dh == [None]


@pytest.mark.parametrize("shape", [(4, 3), (3, 2), (8,), (4, 2, 1)])
def test_a_dl_df_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    net = Network((3, 2), device="cpu")
    trace = net.forward(np.ones((4, 3)))
    with pytest.raises(ShapeError) as caught:
        net.backward(trace, np.ones(shape))
    message = str(caught.value)
    assert str(shape) in message
    assert "(4, 2)" in message
    assert "\n" not in message
