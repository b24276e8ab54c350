"""Derivatives of a network's loss without back-propagation: the complex step and central differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError, ShapeError
from gpu_mlp.network.forward import Trace, allocate_trace, forward
from gpu_mlp.network.losses import check_targets, evaluate_loss, to_targets, to_weights
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer, ParameterLayout

__all__ = ["DerivativeProblem"]

COMPLEX_STEP = 1e-30
FIRST_STEP = 0.02
STEP_RATIO = 1.6
LEVELS = 9
MOST_STEPS = 32

# Not differentiable everywhere; elu only in its second derivative, which differences feel.
KINKED_ACTIVATIONS = ("relu", "leaky_relu")
BENT_ACTIVATIONS = (*KINKED_ACTIVATIONS, "elu")
KINKED_LOSSES = ("absolute_error", "quantile")


@dataclass(frozen=True)
class DerivativeProblem:
    """A network with its batch in its own type, all on the host; `flat` holds its parameters in float64."""

    network: Network
    loss: Loss
    x: Array
    y: Array
    sample_weight: Array | None
    flat: Array

    @classmethod
    def of(cls, network: Network, x: Any, y: Any, loss: Loss, sample_weight: Any) -> DerivativeProblem:
        ops, outputs = network.ops, network.layer_sizes[-1]
        inputs = network.to_inputs(x)
        targets = to_targets(ops, loss, y, outputs=outputs, dtype=network.dtype)
        if len(targets) != len(inputs):
            raise ShapeError(
                f"there are {len(targets)} targets for {len(inputs)} rows; give one target a row"
            )
        check_targets(ops, loss, targets, outputs=outputs)
        weights = None
        if sample_weight is not None:
            weights = ops.to_host(to_weights(ops, sample_weight, rows=len(inputs), dtype=network.dtype))
        flat = ops.to_host(network.parameters.flat).astype(np.float64)
        return cls(network, loss, ops.to_host(inputs), ops.to_host(targets), weights, flat)

    def masks(self) -> Iterator[tuple[int, Array, Array]]:
        """k, and where Omega_k and beta_k lie in the flat buffer. Padding belongs to none of them."""
        layout = ParameterLayout(self.network.layer_sizes)
        positions = np.arange(layout.size)
        for k, (rows, columns) in enumerate(layout.weight_shapes):
            weights, biases = layout.weight_offsets[k], layout.bias_offsets[k]
            yield (
                k,
                (positions >= weights) & (positions < weights + rows * columns),
                (positions >= biases) & (positions < biases + rows),
            )

    def own_gradients(self) -> Array:
        """The gradients of the network's own forward and backward pass, (P,) as float64; padding is zero."""
        network = self.network
        trace = network.forward(self.x)
        y = network.ops.to_device(self.y)
        _, dl_df = evaluate_loss(network.ops, self.loss, trace.output, y, self.sample_weight)
        return network.ops.to_host(network.backward(trace, dl_df).flat).astype(np.float64)

    def reference(self, flat: Array) -> tuple[Any, Trace]:
        """Loss and trace with the parameters `flat`, (P,), in their type."""
        ops, sizes, dtype = numpy_ops(), self.network.layer_sizes, flat.dtype
        parameters = ParameterBuffer(ops, ParameterLayout(sizes), dtype)
        parameters.flat[...] = flat
        trace = allocate_trace(ops, sizes, len(self.x), dtype)
        trace.h[0] = self.x.astype(dtype)
        forward(ops, parameters, self.network.activations, trace)
        y = self.y if self.y.ndim == 1 else self.y.astype(dtype)
        loss, _ = evaluate_loss(ops, self.loss, trace.output, y, self.sample_weight)
        return loss[()], trace

    def without_kinks(self) -> DerivativeProblem:
        """The rows whose units and errors are off their kinks, on one side in float64 and in the network."""
        _, exact = self.reference(self.flat)
        own = [self.network.ops.to_host(f) for f in self.network.forward(self.x).f]
        kept = np.ones(len(self.x), bool)
        for f, other, name in zip(exact.f, own, self.network.activations, strict=False):
            if name in KINKED_ACTIVATIONS:
                kept &= ((np.sign(f) == np.sign(other)) & (f != 0.0)).all(axis=1)
        if self.loss.name in KINKED_LOSSES:
            errors = exact.output - self.y
            kept &= ((np.sign(errors) == np.sign(own[-1] - self.y)) & (errors != 0.0)).all(axis=1)
        if not kept.any():
            raise DataError(
                f"all {len(kept)} rows lie on a kink of the network or the loss, where there is no "
                "derivative; give other rows, or biases that are not zero"
            )
        weights = None if self.sample_weight is None else self.sample_weight[kept]
        return replace(self, x=self.x[kept], y=self.y[kept], sample_weight=weights)

    def complex_step(self, direction: Array) -> float:
        """Im L(p + i h v) / h"""
        loss, _ = self.reference(self.flat + 1j * COMPLEX_STEP * direction)
        return float(loss.imag / COMPLEX_STEP)

    def central_difference(
        self, direction: Array, *, first_step: float = FIRST_STEP, levels: int = LEVELS
    ) -> float | None:
        """(L(p + h v) - L(p - h v)) / 2h extrapolated to h = 0; None where every step crosses a kink.

        Neville's table over shrinking steps, of which the entry that agrees best with its neighbours is
        taken. From a shorter first step fewer of them meet a kink, and fewer levels take fewer forward passes,
        two each; both cost digits.
        """
        here = self._sides(self.reference(self.flat)[1])
        best, best_error = None, math.inf
        previous: list[float] = []
        step = first_step
        for _ in range(MOST_STEPS):
            value = self._difference(direction, step, here)
            step /= STEP_RATIO
            if value is None:
                previous = []
                continue
            row = [value]
            for order, above in enumerate(previous, start=1):
                factor = STEP_RATIO ** (2 * order)
                row.append((factor * row[-1] - above) / (factor - 1.0))
                error = max(abs(row[-1] - row[-2]), abs(row[-1] - above))
                if error <= best_error:
                    best, best_error = row[-1], error
            previous = row
            if len(row) == levels:
                break
        return best

    def _difference(self, direction: Array, step: float, here: Array) -> float | None:
        (above, trace_above), (below, trace_below) = (
            self.reference(self.flat + sign * step * direction) for sign in (1.0, -1.0)
        )
        if all(np.array_equal(here, self._sides(trace)) for trace in (trace_above, trace_below)):
            return float((above - below) / (2.0 * step))
        return None

    def _sides(self, trace: Trace) -> Array:
        """On which side of its kinks every unit and error is."""
        sides = [np.zeros(0, bool)]
        for f, name in zip(trace.f, self.network.activations, strict=False):
            if name in BENT_ACTIVATIONS:
                sides.append(f.ravel() > 0.0)
        if self.y.ndim == 2:
            errors = (trace.output - self.y).ravel()
            if self.loss.name in KINKED_LOSSES:
                sides.append(errors > 0.0)
            if self.loss.name == "huber":
                sides.append(np.abs(errors) > self.loss.huber_delta)
        return np.concatenate(sides)
