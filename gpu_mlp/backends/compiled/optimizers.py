"""Every optimizer as one pass over the parameters: p, g and its state arrays are (P,).

The formulas are those of `backends.reference.optimizers`, where their sources stand; only that a state becomes 0 where
it would be less than a normal number. Else Adam's m of a unit that died would stay such a number for ever, since
0.9 times the smallest rounds to itself, and a processor needs a hundred cycles for each of their products.

`constants` (C,), float64, are `CONSTANT_NAMES` in that order, 0 where an optimizer has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numba import carray, types
from numpy.typing import NDArray

from gpu_mlp.backends.compiled.machine_code import (
    address_of,
    like,
    like_tiny,
    loop_formula,
    pointer_to,
)
from gpu_mlp.backends.records import Array
from gpu_mlp.backends.reference.optimizers import adam_constants

__all__ = ["constants_of", "optimizer_address"]

CONSTANT_NAMES = (
    "weight_decay",
    "decoupled",
    "momentum",
    "dampening",
    "nesterov",
    "alpha",
    "epsilon",
    "epsilon_hat",
    "learning_rate_decay",
    "beta1",
    "beta2",
)
(
    WEIGHT_DECAY,
    DECOUPLED,
    MOMENTUM,
    DAMPENING,
    NESTEROV,
    ALPHA,
    EPSILON,
    EPSILON_HAT,
    LEARNING_RATE_DECAY,
    BETA1,
    BETA2,
) = range(len(CONSTANT_NAMES))


def constants_of(given: Mapping[str, float]) -> NDArray[np.float64]:
    """The constants of an optimizer in the order of `CONSTANT_NAMES`."""
    return np.array([given.get(name, 0.0) for name in CONSTANT_NAMES])


@loop_formula
def settled(state: Any) -> Any:
    """The state, or 0 where it is less than a normal number."""
    return state if abs(state) >= like_tiny(state) else like(state, 0.0)


@loop_formula
def decay(p: Array, g: Array, constants: Array, learning_rate: float) -> None:
    """g <- g + weight_decay p, or decoupled p <- (1 - learning_rate weight_decay) p."""
    weight_decay = constants[WEIGHT_DECAY]
    if weight_decay == 0.0:
        return
    if constants[DECOUPLED] != 0.0:
        kept = like(p[0], 1.0 - learning_rate * weight_decay)
        for i in range(p.size):
            p[i] *= kept
    else:
        strength = like(p[0], weight_decay)
        for i in range(p.size):
            g[i] += strength * p[i]


@loop_formula
def sgd(p: Array, g: Array, b: Array, _: Array, constants: Array, learning_rate: float, step: int) -> None:
    """b <- momentum b + (1 - dampening) g (b = g at step 1), p <- p - learning_rate b, or along g + momentum b"""
    rate, momentum = like(p[0], learning_rate), like(p[0], constants[MOMENTUM])
    if momentum == 0:
        for i in range(p.size):
            p[i] -= rate * g[i]
        return
    kept, taken = momentum, like(p[0], 1.0 - constants[DAMPENING])
    if step == 1:
        kept, taken = like(p[0], 0.0), like(p[0], 1.0)
    if constants[NESTEROV] != 0.0:
        for i in range(p.size):
            b[i] = settled(kept * b[i] + taken * g[i])
            p[i] -= rate * (g[i] + momentum * b[i])
    else:
        for i in range(p.size):
            b[i] = settled(kept * b[i] + taken * g[i])
            p[i] -= rate * b[i]


@loop_formula
def rmsprop(
    p: Array, g: Array, v: Array, b: Array, constants: Array, learning_rate: float, step: int
) -> None:
    """v <- alpha v + (1 - alpha) g^2, d = g / (sqrt(v) + epsilon), p <- p - learning_rate d, or b <- momentum b + d"""
    rate, momentum = like(p[0], learning_rate), like(p[0], constants[MOMENTUM])
    alpha, rest = like(p[0], constants[ALPHA]), like(p[0], 1.0 - constants[ALPHA])
    epsilon = like(p[0], constants[EPSILON])
    if momentum == 0:
        for i in range(p.size):
            v[i] = settled(alpha * v[i] + rest * (g[i] * g[i]))
            p[i] -= rate * (g[i] / (math.sqrt(v[i]) + epsilon))
    else:
        for i in range(p.size):
            v[i] = settled(alpha * v[i] + rest * (g[i] * g[i]))
            b[i] = settled(momentum * b[i] + g[i] / (math.sqrt(v[i]) + epsilon))
            p[i] -= rate * b[i]


@loop_formula
def adagrad(
    p: Array, g: Array, v: Array, _: Array, constants: Array, learning_rate: float, step: int
) -> None:
    """v <- v + g^2, p <- p - learning_rate / (1 + (step - 1) learning_rate_decay) g / (sqrt(v) + epsilon)"""
    rate = like(p[0], learning_rate / (1.0 + (step - 1) * constants[LEARNING_RATE_DECAY]))
    epsilon = like(p[0], constants[EPSILON])
    for i in range(p.size):
        v[i] += g[i] * g[i]
        p[i] -= rate * (g[i] / (math.sqrt(v[i]) + epsilon))


constants_of_step = loop_formula(adam_constants)


@loop_formula
def adam(p: Array, g: Array, m: Array, v: Array, constants: Array, learning_rate: float, step: int) -> None:
    """m <- beta1 m + g, v <- beta2 v + g^2, p <- p - rate m / (sqrt(v) + epsilon), of the decayed sums m and v"""
    betas, epsilons = (constants[BETA1], constants[BETA2]), (constants[EPSILON], constants[EPSILON_HAT])
    of_step = constants_of_step(learning_rate, step, *betas, *epsilons)
    rate, epsilon = like(p[0], of_step[0]), like(p[0], of_step[1])
    beta1, beta2 = like(p[0], betas[0]), like(p[0], betas[1])
    for i in range(p.size):
        m[i] = settled(beta1 * m[i] + g[i])
        v[i] = settled(beta2 * v[i] + g[i] * g[i])
        p[i] -= rate * m[i] / (np.sqrt(v[i]) + epsilon)


@loop_formula
def lion(p: Array, g: Array, m: Array, _: Array, constants: Array, learning_rate: float, step: int) -> None:
    """p <- p - learning_rate sign(beta1 m + (1 - beta1) g), m <- m + (1 - beta2) (g - m)"""
    rate = like(p[0], learning_rate)
    new1, new2 = like(p[0], 1.0 - constants[BETA1]), like(p[0], 1.0 - constants[BETA2])
    for i in range(p.size):
        p[i] -= rate * np.sign(m[i] + new1 * (g[i] - m[i]))
        m[i] = settled(m[i] + new2 * (g[i] - m[i]))


def _update(rule: Callable[..., None]) -> Callable[..., None]:
    """The rule after the decay, on the parameters from p on."""

    def update(
        p: Any, g: Any, first: Any, second: Any, size: int, constants: Any, learning_rate: float, step: int
    ) -> None:
        p_i, g_i = carray(p, size), carray(g, size)
        decay(p_i, g_i, constants, learning_rate)
        rule(p_i, g_i, carray(first, size), carray(second, size), constants, learning_rate, step)

    return update


_RULES = {
    "sgd": _update(sgd),
    "rmsprop": _update(rmsprop),
    "adagrad": _update(adagrad),
    "adam": _update(adam),
    "lion": _update(lion),
}


@cache
def optimizer_address(name: str, dtype: str) -> int:
    """Of (p, g, first state, second state, P, constants, learning rate, step), one step, which counts from 1.

    A state that the optimizer has not may lie anywhere.
    """
    numbers = [pointer_to(dtype)] * 4
    rest = (types.int64, pointer_to("float64"), types.float64, types.int64)
    return address_of(_RULES[name], f"{name}_{dtype}", *numbers, *rest)
