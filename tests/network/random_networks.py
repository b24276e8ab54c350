"""Random networks with a batch and a loss, and the loss as a function of all parameters, complex ones too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES, Array
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.records import Dropout
from gpu_mlp.backends.reference import allocate_philox
from gpu_mlp.config import Loss
from gpu_mlp.network.backward import Gradients, allocate_gradients, backward
from gpu_mlp.network.forward import Trace, allocate_trace, forward
from gpu_mlp.network.losses import allocate_loss_scratch
from gpu_mlp.network.parameters import ParameterBuffer, ParameterLayout

# Widths around the sizes that blocks, warps and cache lines have, and primes.
WIDTHS = (1, 2, 3, 5, 7, 8, 11, 13, 16, 17, 31, 32, 33, 127, 128, 129)
BATCHES = (1, 2, 3, 7, 16, 31, 32, 33, 127)

# Not differentiable everywhere (elu: its second derivative jumps, which central differences feel).
KINKED_ACTIVATIONS = ("relu", "leaky_relu", "elu")
KINKED_LOSSES = ("absolute_error", "huber", "quantile")


@dataclass(frozen=True)
class Problem:
    """A network, its parameters in float64, a batch and a loss."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: Loss
    x: Array
    y: Array
    sample_weight: Array | None
    weights: list[Array]
    biases: list[Array]
    dropout: float = 0.0
    seed: int = 0

    @property
    def share(self) -> Array:
        """Every row's share of the mean loss, by its definition."""
        rows = len(self.x)
        return (
            np.full(rows, 1 / rows)
            if self.sample_weight is None
            else self.sample_weight / self.sample_weight.sum()
        )

    @property
    def flat(self) -> Array:
        """All weights, then all biases, without padding."""
        return np.concatenate([array.ravel() for array in (*self.weights, *self.biases)])

    def layers_of(self, flat: Array) -> tuple[list[Array], list[Array]]:
        """The weights and biases in a vector such as `flat`."""
        arrays, at = [], 0
        for like in (*self.weights, *self.biases):
            arrays.append(flat[at : at + like.size].reshape(like.shape))
            at += like.size
        return arrays[: len(self.weights)], arrays[len(self.weights) :]


@dataclass(frozen=True)
class Evaluation:
    """What the package computed for a problem."""

    loss: Any
    trace: Trace
    gradients: Gradients

    @property
    def flat_gradient(self) -> Array:
        """dL/dOmega of all layers, then dL/dbeta, in the order of `Problem.flat`."""
        return np.concatenate([g.ravel() for g in (*self.gradients.weights, *self.gradients.biases)])


def random_problem(rng: np.random.Generator, activation: str, loss_name: str) -> Problem:
    """A network of 0 to 5 hidden layers that use `activation`, or a mixture that contains it."""
    hidden = int(rng.integers(0, 6))
    sizes = tuple(int(width) for width in rng.choice(WIDTHS, hidden + 2))
    if loss_name == "softmax_cross_entropy" and sizes[-1] == 1:
        sizes = (*sizes[:-1], 2)  # one class has no gradient: a test of its own
    activations = [activation] * hidden
    if hidden > 1 and rng.random() < 0.4:
        activations = [str(name) for name in rng.choice(ACTIVATION_NAMES, hidden)]
        activations[int(rng.integers(hidden))] = activation
    loss = random_loss(rng, loss_name)
    batch = int(rng.choice(BATCHES))
    weights = []
    for fan_in, fan_out in pairwise(sizes):
        weights.append(rng.normal(0, 1.2 / np.sqrt(fan_in), (fan_out, fan_in)))
    return Problem(
        sizes=sizes,
        activations=tuple(activations),
        loss=loss,
        x=rng.normal(size=(batch, sizes[0])),
        y=random_targets(rng, loss_name, batch, sizes[-1]),
        # Some weights are zero, as where rows are switched off; their sum never is.
        sample_weight=rng.permutation(np.r_[0.7, rng.integers(0, 4, batch - 1) * rng.random(batch - 1)])
        if rng.random() < 0.4
        else None,
        weights=weights,
        biases=[rng.normal(0, 0.5, width) for width in sizes[1:]],
    )


def random_loss(rng: np.random.Generator, name: str) -> Loss:
    """A loss with random parameters, label smoothing in half of the cases."""
    return Loss(
        name,
        huber_delta=float(rng.uniform(0.3, 2.0)),
        quantile=float(rng.uniform(0.05, 0.95)),
        label_smoothing=float(rng.choice([0.0, rng.uniform(0.01, 0.5)])),
    )


def random_targets(rng: np.random.Generator, loss_name: str, batch: int, outputs: int) -> Array:
    """Targets the loss takes: labels or probabilities, 0 and 1 or what lies between, counts, or numbers."""
    if loss_name == "softmax_cross_entropy":
        if rng.random() < 0.5:
            return rng.integers(0, outputs, batch)
        return rng.dirichlet(np.ones(outputs), batch)
    if loss_name == "binary_cross_entropy":
        probabilities = rng.random((batch, outputs))
        return probabilities if rng.random() < 0.3 else np.round(probabilities)
    if loss_name == "poisson":
        return rng.poisson(2.0, (batch, outputs)).astype(float)
    return rng.normal(0, 2, (batch, outputs))


def every_pair() -> list[tuple[str, str]]:
    """Every activation with every loss."""
    return [(activation, loss) for activation in ACTIVATION_NAMES for loss in LOSS_NAMES]


def parameter_buffer(problem: Problem, flat: Array) -> ParameterBuffer:
    """The parameters in the package's layout and the type of `flat`."""
    buffer = ParameterBuffer(numpy_ops(), ParameterLayout(problem.sizes), flat.dtype)
    weights, biases = problem.layers_of(flat)
    buffer.weights.assign(weights)
    buffer.biases.assign(biases)
    return buffer


def dropouts_of(problem: Problem, batch: int, dtype: Any) -> Sequence[Dropout | None] | None:
    """Dropout of every hidden layer at step 5, or None."""
    if problem.dropout == 0.0:
        return None
    return [
        Dropout(
            rate=problem.dropout,
            key=(problem.seed, 0),
            layer=layer,
            kept=np.full((batch, width), np.nan, dtype),
            multiplier=np.full((batch, width), np.nan, dtype),
            scratch=allocate_philox(np, batch * width),
            step=5,
        )
        for layer, width in enumerate(problem.sizes[1:-1])
    ]


def evaluate(
    problem: Problem, flat: Array | None = None, *, traced: bool = True, gradient: bool = True
) -> Evaluation:
    """Forward, loss and backward with the parameters `flat`, in their type: complex128 for the complex step.

    All memory is NaN beforehand.
    """
    ops = numpy_ops()
    flat = problem.flat if flat is None else flat
    dtype, rows = flat.dtype, len(problem.x)
    shared = () if traced else problem.activations
    parameters = parameter_buffer(problem, flat)
    trace = allocate_trace(
        ops, problem.sizes, rows, dtype, dropouts=dropouts_of(problem, rows, dtype), shared=shared
    )
    buffer = ParameterBuffer(ops, parameters.layout, dtype)
    gradients = allocate_gradients(ops, buffer, rows, dtype, shared=shared)
    for array in (*trace.f, *trace.h, *gradients.dl_df, *gradients.dl_dh, *buffer.weights, *buffer.biases):
        if array is not None:
            array[...] = np.nan
    for scratch in trace.scratch:
        scratch.values[...] = np.nan
    trace.h[0] = problem.x.astype(dtype)
    forward(ops, parameters, problem.activations, trace)
    loss = np.full((), np.nan, dtype)
    y = problem.y if problem.y.ndim == 1 else problem.y.astype(dtype)
    getattr(ops, problem.loss.name)(
        trace.output,
        y,
        problem.share.astype(dtype),
        loss,
        gradients.dl_df[-1],
        allocate_loss_scratch(ops, rows, problem.sizes[-1], dtype),
        **problem.loss.parameters,
    )
    if gradient:
        backward(ops, parameters, problem.activations, trace, gradients)
    return Evaluation(loss[()], trace, gradients)
