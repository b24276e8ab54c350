"""Every optimizer in one launch over the flat buffer, and clipping in three."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from gpu_mlp.backends.base import Array, OptimizerPrimitive
from gpu_mlp.backends.cuda_kernels import FLOATS, KernelLibrary, c_type
from gpu_mlp.backends.fused.clock import Clock
from gpu_mlp.backends.fused.geometry import FLAT_BLOCK, by_elements, packed
from gpu_mlp.backends.records import LossScale
from gpu_mlp.backends.reference.optimizers import adam_constants
from gpu_mlp.backends.reference.precisions import GROWTH_STEPS, LARGEST_SCALE, SMALLEST_SCALE

__all__ = [
    "INSTANTIATIONS",
    "clip_global_norm",
    "clock_row",
    "fused_optimizer",
    "l2_penalty",
    "unscale_gradients",
]

INSTANTIATIONS = {
    "optimizer.cu": tuple(
        f"{kernel}<{float_type}>"
        for kernel in ("sgd", "sgd_momentum", "rmsprop", "rmsprop_momentum", "adagrad", "adam", "lion")
        for float_type in FLOATS
    ),
    "norm.cu": tuple(
        f"{kernel}<{float_type}>"
        for kernel in (
            "squares",
            "clip_coefficient",
            "scale",
            "penalize",
            "add_penalty",
            "unscale",
            "adjust_scale",
        )
        for float_type in (("float",) if kernel in ("unscale", "adjust_scale") else FLOATS)
    ),
}

# Kernel, rate and the kernel's own constants from learning rate, step and the optimizer's constants.
Plan = tuple[str, float, tuple[float, ...]]


def _sgd(rate: float, step: int, *, momentum: float, dampening: float, nesterov: float) -> Plan:
    if momentum == 0.0:
        return "sgd", rate, ()
    return "sgd_momentum", rate, (momentum, 1.0 if step == 1 else 1.0 - dampening, nesterov)


def _rmsprop(rate: float, step: int, *, alpha: float, epsilon: float, momentum: float) -> Plan:
    kernel = "rmsprop" if momentum == 0.0 else "rmsprop_momentum"
    return kernel, rate, (alpha, 1.0 - alpha, epsilon, momentum)


def _adagrad(rate: float, step: int, *, learning_rate_decay: float, epsilon: float) -> Plan:
    return "adagrad", rate / (1.0 + (step - 1) * learning_rate_decay), (epsilon,)


def _adam(rate: float, step: int, *, beta1: float, beta2: float, epsilon: float, epsilon_hat: float) -> Plan:
    rate, epsilon = adam_constants(rate, step, beta1, beta2, epsilon, epsilon_hat)
    return "adam", rate, (beta1, beta2, epsilon)


def _lion(rate: float, step: int, *, beta1: float, beta2: float) -> Plan:
    return "lion", rate, (1.0 - beta1, 1.0 - beta2)


PLANS: dict[str, Callable[..., Plan]] = {
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adam": _adam,
    "lion": _lion,
}


def clock_row(
    optimizer: str,
    learning_rate: float,
    step: int,
    *,
    weight_decay: float,
    decoupled: float,
    **constants: float,
) -> tuple[str, tuple[float, ...]]:
    """The kernel, and what the clock shows it at step `step`, from 1: rate, shrink, penalty and its own constants."""
    kernel, rate, own = PLANS[optimizer](learning_rate, step, **constants)
    shrink = 1.0 - learning_rate * weight_decay if decoupled else 1.0
    penalty = 0.0 if decoupled else weight_decay
    return kernel, (rate, shrink, penalty, *own)


def fused_optimizer(kernels: KernelLibrary, clock: Clock, never: Array, name: str) -> OptimizerPrimitive:
    """An optimizer of `reference.optimizers` by its name; gradients stay as they are under an L2 penalty.

    never: () int32, the 0 of a step that is not to be skipped.
    """
    return partial(_update, kernels, clock, never, name)


def _update(
    kernels: KernelLibrary,
    clock: Clock,
    never: Array,
    name: str,
    parameters: Array,
    gradients: Array,
    state: Sequence[Array],
    scratch: Array,
    *,
    learning_rate: float,
    step: int,
    skip: Array | None = None,
    **constants: float,
) -> None:
    kernel, (rate, shrink, penalty, *own) = clock_row(name, learning_rate, step, **constants)
    clock.set(step - 1, rate, shrink, penalty, tuple(own))
    geometry = by_elements(parameters.size, packed(parameters.itemsize), kernels.multiprocessors)
    launch = kernels.get("optimizer.cu", f"{kernel}<{c_type(parameters)}>")
    launch(*geometry, parameters, gradients, *state, clock.numbers, never if skip is None else skip)


def clip_global_norm(
    kernels: KernelLibrary,
    largest_norm: float,
    gradients: Array,
    norm: Array,
    coefficient: Array,
    scratch: Array,
) -> None:
    """As `reference.optimizers.clip_global_norm`; the parts of the sum stand in `scratch`."""
    float_type = c_type(gradients)
    grid, block = by_elements(gradients.size, packed(gradients.itemsize), kernels.multiprocessors)
    partial_sums = scratch[: grid[0]]
    kernels.get("norm.cu", f"squares<{float_type}>")(grid, block, gradients, partial_sums)
    kernels.get("norm.cu", f"clip_coefficient<{float_type}>")(
        (1,), FLAT_BLOCK, partial_sums, norm, coefficient, largest_norm
    )
    kernels.get("norm.cu", f"scale<{float_type}>")(grid, block, gradients, coefficient)


def l2_penalty(
    kernels: KernelLibrary,
    alpha: float,
    weights: Array,
    gradients: Array,
    total: Array,
    loss: Array,
    scratch: Array,
) -> None:
    """As `reference.optimizers.l2_penalty`; the parts of the sum stand in `scratch`."""
    float_type = c_type(weights)
    grid, block = by_elements(weights.size, packed(weights.itemsize), kernels.multiprocessors)
    partial_sums = scratch[: grid[0]]
    kernels.get("norm.cu", f"penalize<{float_type}>")(
        grid, block, weights, gradients, total, alpha, partial_sums
    )
    kernels.get("norm.cu", f"add_penalty<{float_type}>")((1,), FLAT_BLOCK, partial_sums, total, alpha, loss)


def unscale_gradients(
    kernels: KernelLibrary, gradients: Array, loss_scale: LossScale, scratch: Array
) -> None:
    """As `reference.precisions.unscale_gradients`; the parts of the sum stand in `scratch`."""
    grid, block = by_elements(gradients.size, packed(gradients.itemsize), kernels.multiprocessors)
    partial_sums = scratch[: grid[0]]
    scale, counts = loss_scale.scale, (loss_scale.steps, loss_scale.skip, loss_scale.skipped)
    kernels.get("norm.cu", "unscale<float>")(grid, block, gradients, scale, partial_sums)
    kernels.get("norm.cu", "adjust_scale<float>")(
        *((1,), FLAT_BLOCK, partial_sums, scale, *counts),
        *(GROWTH_STEPS, SMALLEST_SCALE, LARGEST_SCALE),
    )
