"""Every optimizer as one update of the whole flat parameter buffer, with torch.optim's formulas.

Shapes: parameters p, gradients g, every state array and the scratch array t are (P,). `step` counts from 1.
An L2 penalty adds weight_decay * p to g, in place here; a decoupled one (Loshchilov and Hutter, 2019) first scales p by
1 - learning_rate * weight_decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpu_mlp.backends.base import Array, OptimizerPrimitive

__all__ = [
    "adagrad",
    "adam",
    "adam_constants",
    "clip_global_norm",
    "decay",
    "l2_penalty",
    "lion",
    "rmsprop",
    "sgd",
    "unless_skipped",
]

CLIP_EPSILON = 1e-6


def unless_skipped(update: Callable[..., None]) -> OptimizerPrimitive:
    """The update, which is not made where `skip` () is given and not 0."""

    def guarded(*arrays: Any, skip: Array | None = None, **constants: Any) -> None:
        if skip is None or not bool(skip):
            update(*arrays, **constants)

    return guarded


def clip_global_norm(
    xp: Any, largest_norm: float, gradients: Array, norm: Array, coefficient: Array, _: Array
) -> None:
    """g <- g min(1, largest_norm / (||g|| + 1e-6)), the norm over all parameters together (Pascanu et al., 2013).

    norm and coefficient are arrays of shape (): the norm before clipping stays in `norm`. The last
    argument is scratch (P,) for a backend that adds up in parts.
    """
    xp.dot(gradients, gradients, out=norm)
    xp.sqrt(norm, out=norm)
    xp.add(norm, CLIP_EPSILON, out=coefficient)
    xp.divide(largest_norm, coefficient, out=coefficient)
    xp.fmin(
        coefficient, 1.0, out=coefficient
    )  # 1 where the norm is NaN: one gradient must not spoil the others
    xp.multiply(gradients, coefficient, out=gradients)


def l2_penalty(
    xp: Any, alpha: float, weights: Array, gradients: Array, total: Array, loss: Array, t: Array
) -> None:
    """L <- L + alpha / 2 |w|^2 / total, g <- g + alpha / total w: scikit-learn's penalty of a batch of weight `total`.

    weights and gradients (W,), total and loss (), t scratch of at least W + 2 numbers.
    """
    size = weights.size
    scaled, coefficient, square = t[:size], t[size : size + 1].reshape(()), t[size + 1 : size + 2].reshape(())
    xp.divide(alpha, total, out=coefficient)
    xp.multiply(weights, coefficient, out=scaled)
    xp.add(gradients, scaled, out=gradients)
    xp.dot(scaled, weights, out=square)
    xp.multiply(square, 0.5, out=square)
    xp.add(loss, square, out=loss)


def decay(
    xp: Any, p: Array, g: Array, t: Array, *, learning_rate: float, weight_decay: float, decoupled: float
) -> None:
    """g <- g + weight_decay p, or decoupled p <- (1 - learning_rate weight_decay) p."""
    if weight_decay == 0.0:
        return
    if decoupled:
        xp.multiply(p, 1.0 - learning_rate * weight_decay, out=p)
    else:
        xp.multiply(p, weight_decay, out=t)
        xp.add(g, t, out=g)


def _average(xp: Any, average: Array, value: Array, decay: float, t: Array) -> None:
    """average <- average + (1 - decay) (value - average)"""
    xp.subtract(value, average, out=t)
    xp.multiply(t, 1.0 - decay, out=t)
    xp.add(average, t, out=average)


def _average_square(xp: Any, average: Array, g: Array, decay: float, t: Array) -> None:
    """average <- decay average + (1 - decay) g^2"""
    xp.multiply(g, g, out=t)
    xp.multiply(t, 1.0 - decay, out=t)
    xp.multiply(average, decay, out=average)
    xp.add(average, t, out=average)


def sgd(
    xp: Any,
    p: Array,
    g: Array,
    state: Sequence[Array],
    t: Array,
    *,
    learning_rate: float,
    step: int,
    momentum: float,
    dampening: float,
    nesterov: float,
    weight_decay: float,
    decoupled: float,
) -> None:
    """b <- momentum b + (1 - dampening) g (b = g at step 1);  p <- p - learning_rate b.

    Nesterov's form (Sutskever et al., 2013) steps along g + momentum b. Without momentum p <- p - learning_rate g and
    there is no state; with it state = (b,).
    """
    decay(xp, p, g, t, learning_rate=learning_rate, weight_decay=weight_decay, decoupled=decoupled)
    direction = g
    if momentum != 0.0:
        (velocity,) = state
        if step == 1:
            velocity[...] = g
        else:
            xp.multiply(velocity, momentum, out=velocity)
            xp.multiply(g, 1.0 - dampening, out=t)
            xp.add(velocity, t, out=velocity)
        direction = velocity
        if nesterov:
            xp.multiply(velocity, momentum, out=t)
            xp.add(t, g, out=t)
            direction = t
    xp.multiply(direction, learning_rate, out=t)
    xp.subtract(p, t, out=p)


def rmsprop(
    xp: Any,
    p: Array,
    g: Array,
    state: Sequence[Array],
    t: Array,
    *,
    learning_rate: float,
    step: int,
    alpha: float,
    epsilon: float,
    momentum: float,
    weight_decay: float,
    decoupled: float,
) -> None:
    """v <- alpha v + (1 - alpha) g^2;  d = g / (sqrt(v) + epsilon) (Tieleman and Hinton, 2012).

    p <- p - learning_rate d, or with momentum b <- momentum b + d and p <- p - learning_rate b. state = (v,) or (v, b).
    """
    decay(xp, p, g, t, learning_rate=learning_rate, weight_decay=weight_decay, decoupled=decoupled)
    mean_square = state[0]
    _average_square(xp, mean_square, g, alpha, t)
    xp.sqrt(mean_square, out=t)
    xp.add(t, epsilon, out=t)
    xp.divide(g, t, out=t)
    if momentum != 0.0:
        velocity = state[1]
        xp.multiply(velocity, momentum, out=velocity)
        xp.add(velocity, t, out=velocity)
        xp.multiply(velocity, learning_rate, out=t)
    else:
        xp.multiply(t, learning_rate, out=t)
    xp.subtract(p, t, out=p)


def adagrad(
    xp: Any,
    p: Array,
    g: Array,
    state: Sequence[Array],
    t: Array,
    *,
    learning_rate: float,
    step: int,
    learning_rate_decay: float,
    epsilon: float,
    weight_decay: float,
    decoupled: float,
) -> None:
    """v <- v + g^2;  p <- p - learning_rate / (1 + (step - 1) learning_rate_decay) g / (sqrt(v) + epsilon).

    Duchi, Hazan, Singer, 2011; state = (v,).
    """
    decay(xp, p, g, t, learning_rate=learning_rate, weight_decay=weight_decay, decoupled=decoupled)
    (sum_of_squares,) = state
    xp.multiply(g, g, out=t)
    xp.add(sum_of_squares, t, out=sum_of_squares)
    xp.sqrt(sum_of_squares, out=t)
    xp.add(t, epsilon, out=t)
    xp.divide(g, t, out=t)
    xp.multiply(t, learning_rate / (1.0 + (step - 1) * learning_rate_decay), out=t)
    xp.subtract(p, t, out=p)


def adam(
    xp: Any,
    p: Array,
    g: Array,
    state: Sequence[Array],
    t: Array,
    *,
    learning_rate: float,
    step: int,
    beta1: float,
    beta2: float,
    epsilon: float,
    epsilon_hat: float,
    weight_decay: float,
    decoupled: float,
) -> None:
    """m <- beta1 m + g;  v <- beta2 v + g^2;  with c_i = 1 - beta_i^step

    p <- p - learning_rate ((1 - beta1) m / c_1) / (sqrt((1 - beta2) v / c_2) + epsilon)

    Kingma and Ba, 2015; decoupled: AdamW. (1 - beta1) m and (1 - beta2) v are what the paper writes m and v: the
    constants come in once, with the learning rate and epsilon, and not in two passes over memory. With epsilon_hat 1,
    the paper's shorter form, epsilon is added to sqrt((1 - beta2) v) before the correction by c_2. state = (m, v).
    """
    decay(xp, p, g, t, learning_rate=learning_rate, weight_decay=weight_decay, decoupled=decoupled)
    m, v = state
    xp.multiply(m, beta1, out=m)
    xp.add(m, g, out=m)
    xp.multiply(g, g, out=t)
    xp.multiply(v, beta2, out=v)
    xp.add(v, t, out=v)
    rate, epsilon = adam_constants(learning_rate, step, beta1, beta2, epsilon, epsilon_hat)
    xp.sqrt(v, out=t)
    xp.add(t, epsilon, out=t)
    xp.divide(m, t, out=t)
    xp.multiply(t, rate, out=t)
    xp.subtract(p, t, out=p)


def adam_constants(
    learning_rate: float, step: int, beta1: float, beta2: float, epsilon: float, epsilon_hat: float
) -> tuple[float, float]:
    """rate and e with which Adam's update is p - rate m / (sqrt(v) + e), of the decayed sums m and v."""
    root = math.sqrt((1.0 - beta2) / (1.0 - beta2**step))
    rate = learning_rate * (1.0 - beta1) / (1.0 - beta1**step) / root
    return rate, epsilon / (math.sqrt(1.0 - beta2) if epsilon_hat else root)


def lion(
    xp: Any,
    p: Array,
    g: Array,
    state: Sequence[Array],
    t: Array,
    *,
    learning_rate: float,
    step: int,
    beta1: float,
    beta2: float,
    weight_decay: float,
    decoupled: float,
) -> None:
    """p <- p - learning_rate sign(beta1 m + (1 - beta1) g);  m <- beta2 m + (1 - beta2) g.

    Chen et al., "Symbolic discovery of optimization algorithms", 2023; state = (m,).
    """
    decay(xp, p, g, t, learning_rate=learning_rate, weight_decay=weight_decay, decoupled=decoupled)
    (mean,) = state
    xp.subtract(g, mean, out=t)
    xp.multiply(t, 1.0 - beta1, out=t)
    xp.add(t, mean, out=t)
    xp.sign(t, out=t)
    xp.multiply(t, learning_rate, out=t)
    xp.subtract(p, t, out=p)
    _average(xp, mean, g, beta2, t)
