"""Every optimizer for 50 steps beside torch.optim, on the gradients of a real network in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import OPTIMIZER_NAMES, TrainingConfig
from gpu_mlp.errors import ConfigError
from gpu_mlp.learning.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Optimizer,
    OptimizerState,
    RMSprop,
    optimizer_from,
)
from gpu_mlp.network.losses import softmax_cross_entropy
from gpu_mlp.network.network import Network

STEPS = 50
# Both take the same 50 steps in double precision, in a slightly different order of operations.
TOLERANCE = 1e-12

Rule = Callable[[Array, Array, int], Array]

T = torch.optim
PAIRS: dict[str, tuple[Optimizer, Callable[[Any], torch.optim.Optimizer]]] = {
    "sgd": (SGD(0.1), lambda p: T.SGD(p, 0.1)),
    "sgd L2": (SGD(0.1, weight_decay=0.03), lambda p: T.SGD(p, 0.1, weight_decay=0.03)),
    "momentum": (SGD(0.1, momentum=0.9), lambda p: T.SGD(p, 0.1, momentum=0.9)),
    "momentum L2": (
        SGD(0.1, 0.03, momentum=0.9),
        lambda p: T.SGD(p, 0.1, momentum=0.9, weight_decay=0.03),
    ),
    "dampening": (
        SGD(0.1, momentum=0.8, dampening=0.3),
        lambda p: T.SGD(p, 0.1, momentum=0.8, dampening=0.3),
    ),
    "dampening L2": (
        SGD(0.1, 0.03, momentum=0.8, dampening=0.3),
        lambda p: T.SGD(p, 0.1, momentum=0.8, dampening=0.3, weight_decay=0.03),
    ),
    "nesterov": (SGD(0.1, momentum=0.9, nesterov=True), lambda p: T.SGD(p, 0.1, momentum=0.9, nesterov=True)),
    "nesterov L2": (
        SGD(0.1, 0.03, momentum=0.9, nesterov=True),
        lambda p: T.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.03),
    ),
    "rmsprop": (RMSprop(0.01), lambda p: T.RMSprop(p, 0.01)),
    "rmsprop alpha": (
        RMSprop(0.01, alpha=0.7, epsilon=1e-3),
        lambda p: T.RMSprop(p, 0.01, alpha=0.7, eps=1e-3),
    ),
    "rmsprop L2": (RMSprop(0.01, 0.03), lambda p: T.RMSprop(p, 0.01, weight_decay=0.03)),
    "rmsprop momentum": (RMSprop(0.01, momentum=0.9), lambda p: T.RMSprop(p, 0.01, momentum=0.9)),
    "rmsprop momentum L2": (
        RMSprop(0.01, 0.03, momentum=0.9),
        lambda p: T.RMSprop(p, 0.01, momentum=0.9, weight_decay=0.03),
    ),
    "adagrad": (Adagrad(0.05), lambda p: T.Adagrad(p, 0.05)),
    "adagrad decay": (
        Adagrad(0.05, learning_rate_decay=0.1, epsilon=1e-4),
        lambda p: T.Adagrad(p, 0.05, lr_decay=0.1, eps=1e-4),
    ),
    "adagrad L2": (Adagrad(0.05, 0.03), lambda p: T.Adagrad(p, 0.05, weight_decay=0.03)),
    "adam": (Adam(0.01), lambda p: T.Adam(p, 0.01)),
    "adam betas": (
        Adam(0.01, beta1=0.6, beta2=0.8, epsilon=1e-3),
        lambda p: T.Adam(p, 0.01, betas=(0.6, 0.8), eps=1e-3),
    ),
    "adam L2": (Adam(0.01, 0.03), lambda p: T.Adam(p, 0.01, weight_decay=0.03)),
    "adam decoupled": (
        Adam(0.01, 0.03, decoupled_weight_decay=True),
        lambda p: T.Adam(p, 0.01, weight_decay=0.03, decoupled_weight_decay=True),
    ),
    "adamw": (AdamW(0.01), lambda p: T.AdamW(p, 0.01)),
    "adamw strong": (AdamW(0.01, weight_decay=0.5), lambda p: T.AdamW(p, 0.01, weight_decay=0.5)),
}


def gradient_problem(ops: Ops) -> tuple[Network, Callable[[], Any]]:
    """A small network, and what computes its gradients at the parameters it has now."""
    rng = np.random.default_rng(11)
    net = Network((3, 7, 5, 4), activation="tanh", dtype="float64", device=ops.device)
    net.biases = [rng.normal(0, 0.3, width) for width in (7, 5, 4)]
    x, y = rng.normal(size=(33, 3)), rng.integers(0, 4, 33)

    def gradients() -> Any:
        trace = net.forward(x)
        _, dl_df = softmax_cross_entropy(trace.output, y)
        return net.backward(trace, dl_df)

    return net, gradients


def layers(ops: Ops, net_or_gradients: Any) -> list[Array]:
    """All weights and all biases, copied to the host."""
    both = (*net_or_gradients.weights, *net_or_gradients.biases)
    return [np.array(ops.to_host(array)) for array in both]


def rates() -> list[float]:
    """A learning rate that changes from step to step, as schedules do, as factors of the first."""
    return [1.0 / (1.0 + 0.05 * step) for step in range(STEPS)]


def assert_padding_is_zero(ops: Ops, net: Network, flat: Array, what: str) -> None:
    """Everything in the flat buffer beside weights and biases."""
    inside = np.zeros(flat.size, bool)
    layout = net.parameters.layout
    for at, (rows, columns) in zip(layout.weight_offsets, layout.weight_shapes, strict=True):
        inside[at : at + rows * columns] = True
    for at, size in zip(layout.bias_offsets, layout.layer_sizes[1:], strict=True):
        inside[at : at + size] = True
    assert inside.sum() == net.parameter_count < flat.size
    assert not np.any(ops.to_host(flat)[~inside]), f"the padding of {what} is not zero"


@pytest.mark.parametrize("name", PAIRS)
def test_fifty_steps_follow_torch_optim(ops: Ops, name: str) -> None:
    optimizer, torch_optimizer = PAIRS[name]
    net, gradients = gradient_problem(ops)
    tensors = [torch.tensor(array) for array in layers(ops, net)]
    reference = torch_optimizer(tensors)
    state = OptimizerState(ops, optimizer, net.parameters.flat)
    start = layers(ops, net)
    for factor in rates():
        computed = gradients()
        for tensor, gradient in zip(tensors, layers(ops, computed), strict=True):
            tensor.grad = torch.tensor(gradient)
        rate = factor * optimizer.learning_rate
        state.update(computed.flat, rate)
        reference.param_groups[0]["lr"] = rate
        reference.step()
    for mine, theirs, before in zip(layers(ops, net), tensors, start, strict=True):
        assert np.abs(mine - before).max() > 1e-2  # it went somewhere
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=TOLERANCE, atol=TOLERANCE)
    assert_padding_is_zero(ops, net, net.parameters.flat, "the parameters")
    for what, array in state.arrays.items():
        assert_padding_is_zero(ops, net, array, what)


def lion_rule(optimizer: Lion) -> Rule:
    """Algorithm 2 of Chen et al., 2023, line by line."""
    momentum: Any = 0.0

    def step(theta: Array, g: Array, _: int) -> Array:
        nonlocal momentum
        if not optimizer.decoupled_weight_decay:
            g = g + optimizer.weight_decay * theta
        c = optimizer.beta1 * momentum + (1 - optimizer.beta1) * g
        decay = optimizer.weight_decay * theta if optimizer.decoupled_weight_decay else 0.0
        momentum = optimizer.beta2 * momentum + (1 - optimizer.beta2) * g
        return np.sign(c) + decay

    return step


def decoupled_rule(optimizer: Optimizer) -> Rule:
    """SGD, RMSprop and Adagrad with Loshchilov and Hutter's decay, which torch.optim lacks for them."""
    state: Any = 0.0

    def step(theta: Array, g: Array, count: int) -> Array:
        nonlocal state
        match optimizer:
            case SGD():
                state = g if count == 1 else optimizer.momentum * state + g
                direction = state
            case RMSprop():
                state = optimizer.alpha * state + (1 - optimizer.alpha) * g**2
                direction = g / (np.sqrt(state) + optimizer.epsilon)
            case _:
                state = state + g**2
                direction = g / (np.sqrt(state) + 1e-10)
        return direction + optimizer.weight_decay * theta

    return step


@pytest.mark.parametrize(
    ("optimizer", "rule_of"),
    [
        (Lion(0.01), lion_rule),
        (Lion(0.01, 0.3, beta1=0.7, beta2=0.8), lion_rule),
        (Lion(0.01, 0.3, False), lion_rule),
        (SGD(0.1, 0.3, True, momentum=0.9), decoupled_rule),
        (RMSprop(0.01, 0.3, True), decoupled_rule),
        (Adagrad(0.05, 0.3, True), decoupled_rule),
    ],
    ids=["lion", "lion decay", "lion L2", "sgd decoupled", "rmsprop decoupled", "adagrad decoupled"],
)
def test_fifty_steps_follow_the_formula_where_torch_has_none(
    ops: Ops, optimizer: Any, rule_of: Callable[[Any], Rule]
) -> None:
    rule = rule_of(optimizer)
    net, gradients = gradient_problem(ops)
    theta = np.array(ops.to_host(net.parameters.flat))
    state = OptimizerState(ops, optimizer, net.parameters.flat)
    for count, factor in enumerate(rates(), start=1):
        computed = gradients().flat
        rate = factor * optimizer.learning_rate
        theta = theta - rate * rule(theta, np.array(ops.to_host(computed)), count)
        state.update(computed, rate)
        np.testing.assert_allclose(ops.to_host(net.parameters.flat), theta, rtol=1e-12, atol=1e-13)
    assert_padding_is_zero(ops, net, net.parameters.flat, "the parameters")
    for what, array in state.arrays.items():
        assert_padding_is_zero(ops, net, array, what)


def test_torch_still_has_no_lion() -> None:
    """Once it has one, compare with that instead of the formula."""
    assert not hasattr(torch.optim, "Lion")


@pytest.mark.parametrize("optimizer", [pair[0] for pair in PAIRS.values()] + [Lion()], ids=[*PAIRS, "lion"])
def test_float32_stays_close_to_float64(optimizer: Optimizer) -> None:
    ops, rng = numpy_ops(), np.random.default_rng(0)
    start, gradients = rng.normal(size=127), rng.normal(size=(20, 127))
    results = []
    for dtype in (np.float32, np.float64):
        flat = start.astype(dtype)
        state = OptimizerState(ops, optimizer, flat)
        for gradient in gradients:
            state.update(gradient.astype(dtype), optimizer.learning_rate)
        assert flat.dtype == dtype
        assert all(array.dtype == dtype for array in state.arrays.values())
        results.append(flat)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("largest", [1e-3, 0.5, 1.0, 1e4])
def test_clipping_follows_torch(ops: Ops, largest: float) -> None:
    """Factor and norm, over all parameters together, also where nothing is to be clipped."""
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=shape) for shape in ((7, 3), (4, 7), (7,), (4,))]
    net = Network((3, 7, 4), dtype="float64", device=ops.device)
    net.set_parameters(arrays[:2], arrays[2:])
    parameters = [torch.zeros(array.shape, dtype=torch.float64, requires_grad=True) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = torch.tensor(array)
    expected = torch.nn.utils.clip_grad_norm_(parameters, largest)
    norm, coefficient = (ops.xp.full((), np.nan) for _ in range(2))
    scratch = ops.xp.full_like(net.parameters.flat, np.nan)
    ops.clip_global_norm(largest, net.parameters.flat, norm, coefficient, scratch)
    assert float(norm) == pytest.approx(expected.item(), rel=1e-14)
    for mine, parameter in zip(layers(ops, net), parameters, strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(mine, parameter.grad.numpy(), rtol=1e-14)


def test_clipping_zero_gradients_leaves_zeros(ops: Ops) -> None:
    gradients = ops.xp.zeros(33)
    norm, coefficient = (ops.xp.full((), np.nan) for _ in range(2))
    ops.clip_global_norm(0.1, gradients, norm, coefficient, ops.xp.empty(33))
    assert float(norm) == 0.0
    assert not np.any(ops.to_host(gradients))


def test_defaults_are_those_of_torch_and_of_lions_paper() -> None:
    assert (Lion().learning_rate, Lion().beta1, Lion().beta2, Lion().weight_decay) == (1e-4, 0.9, 0.99, 0.0)
    assert Lion().decoupled_weight_decay
    parameter = [torch.zeros(1)]
    adam, adamw = T.Adam(parameter).defaults, T.AdamW(parameter).defaults
    assert (Adam().learning_rate, (Adam().beta1, Adam().beta2), Adam().epsilon, Adam().weight_decay) == (
        adam["lr"],
        adam["betas"],
        adam["eps"],
        adam["weight_decay"],
    )
    assert (AdamW().learning_rate, AdamW().weight_decay) == (adamw["lr"], adamw["weight_decay"])
    assert AdamW().decoupled_weight_decay
    rmsprop, adagrad = T.RMSprop(parameter).defaults, T.Adagrad(parameter).defaults
    assert (RMSprop().alpha, RMSprop().epsilon, RMSprop().momentum) == (
        rmsprop["alpha"],
        rmsprop["eps"],
        rmsprop["momentum"],
    )
    assert (Adagrad().learning_rate, Adagrad().learning_rate_decay, Adagrad().epsilon) == (
        adagrad["lr"],
        adagrad["lr_decay"],
        adagrad["eps"],
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"optimizer": "sgd", "learning_rate": 0.2}, SGD(0.2)),
        ({"optimizer": "momentum"}, SGD(1e-3, momentum=0.9)),
        ({"optimizer": "momentum", "momentum": 0.5}, SGD(1e-3, momentum=0.5)),
        ({"optimizer": "nesterov"}, SGD(1e-3, momentum=0.9, nesterov=True)),
        ({"optimizer": "rmsprop", "momentum": 0.5, "epsilon": 1e-3}, RMSprop(momentum=0.5, epsilon=1e-3)),
        ({"optimizer": "rmsprop"}, RMSprop()),
        ({"optimizer": "adagrad", "learning_rate": 0.3}, Adagrad(0.3)),
        ({"optimizer": "adam", "beta1": 0.5, "weight_decay": 0.1}, Adam(beta1=0.5, weight_decay=0.1)),
        (
            {"optimizer": "adam", "weight_decay": 0.1, "decoupled_weight_decay": True},
            Adam(weight_decay=0.1, decoupled_weight_decay=True),
        ),
        ({"optimizer": "adamw"}, AdamW()),
        ({"optimizer": "adamw", "weight_decay": 0.0, "beta2": 0.9}, AdamW(weight_decay=0.0, beta2=0.9)),
        ({"optimizer": "lion", "beta1": 0.8, "learning_rate": 1e-4}, Lion(beta1=0.8)),
    ],
)
def test_a_config_names_the_optimizer_and_keeps_its_defaults(
    settings: dict[str, Any], expected: Optimizer
) -> None:
    assert optimizer_from(TrainingConfig(**settings)) == expected


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_every_name_makes_an_optimizer(name: str) -> None:
    assert optimizer_from(TrainingConfig(optimizer=name, learning_rate=0.25)).learning_rate == 0.25


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: SGD(0.0), "learning_rate"),
        (lambda: SGD(float("nan")), "learning_rate"),
        (lambda: SGD(0.1, -1.0), "weight_decay"),
        (lambda: SGD(0.1, momentum=1.01), "momentum"),
        (lambda: SGD(0.1, momentum=0.5, dampening=-0.1), "dampening"),
        (lambda: SGD(0.1, nesterov=True), "momentum 0.0"),
        (lambda: SGD(0.1, momentum=0.9, dampening=0.5, nesterov=True), "dampening 0.5"),
        (lambda: optimizer_from(TrainingConfig(optimizer="nesterov", momentum=0.0)), "momentum 0.0"),
        (lambda: Adam(beta1=1.0), "beta1"),
        (lambda: Adam(beta2=-0.1), "beta2"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
        (lambda: RMSprop(alpha=1.0), "alpha"),
        (lambda: Adagrad(learning_rate_decay=-1.0), "learning_rate_decay"),
        (lambda: Lion(beta2=1.5), "beta2"),
    ],
)
def test_constants_out_of_range_are_refused_by_name(make: Callable[[], Optimizer], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_only_the_state_that_is_needed_is_kept() -> None:
    """Memory is the parameters' times this number."""
    names = {SGD(): (), SGD(momentum=0.9): ("velocity",), RMSprop(): ("mean_square",), Lion(): ("mean",)}
    for optimizer, expected in names.items():
        assert optimizer.state_names == expected
