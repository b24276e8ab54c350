"""The arrays of one forward and backward pass on the host, as the package's own code computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import LayerBelow
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError
from gpu_mlp.model import link
from gpu_mlp.network.backward import Gradients
from gpu_mlp.network.derivatives import DerivativeProblem
from gpu_mlp.network.forward import Trace
from gpu_mlp.network.losses import evaluate_loss
from gpu_mlp.network.network import Network

__all__ = ["Passes", "run_passes"]

Values = NDArray[Any]


@dataclass(frozen=True)
class Passes:
    """Samples as rows: h[k] (B, D_k), f[k] and slopes[k] = a'[f_k] (B, D_{k+1}), and the gradients.

    y (B, O) as the loss reads it: of labels their probabilities, with their smoothing. link: softmax(f_K), say.
    dl_dh[0] and the last of slopes do not exist and are empty.
    """

    problem: DerivativeProblem
    activations: tuple[str, ...]
    omega: list[Values]
    beta: list[Values]
    h: list[Values]
    f: list[Values]
    slopes: list[Values]
    y: Values
    link: Values
    loss: float
    dl_df: list[Values]
    dl_dh: list[Values]
    dl_domega: list[Values]
    dl_dbeta: list[Values]

    @property
    def last(self) -> int:
        """K"""
        return len(self.f) - 1


def run_passes(network: Network, x: Any, y: Any, loss: Loss) -> Passes:
    """Raises ShapeError for what does not fit the network or the loss, DataError where a number is not finite."""
    problem = DerivativeProblem.of(network, x, y, loss, None)
    if not np.isfinite(problem.x).all():
        raise DataError("the input holds NaN or infinity; give finite numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        trace = network.forward(problem.x)
        targets = network.ops.to_device(problem.y)
        value, dl_df = evaluate_loss(network.ops, loss, trace.output, targets)
        found = _on_host(problem, trace, network.backward(trace, dl_df), value)
    if not all(np.isfinite(each).all() for each in (*found.f, *found.dl_domega, np.array(found.loss))):
        raise DataError(
            f"the network overflows {network.dtype} with this input, so that there is nothing to explain; give smaller "
            "numbers"
        )
    return found


def _on_host(problem: DerivativeProblem, trace: Trace, gradients: Gradients, value: Array) -> Passes:
    network, loss = problem.network, problem.loss
    ops = network.ops

    def hosted(arrays: Any) -> list[Values]:
        return [np.array(ops.to_host(array)) for array in arrays]

    output = ops.to_host(trace.output)
    return Passes(
        problem=problem,
        activations=network.activations,
        omega=hosted(network.weights),
        beta=hosted(network.biases),
        h=hosted(trace.h),
        f=hosted(trace.f),
        slopes=hosted(_slopes(ops, trace, k, name) for k, name in enumerate(network.activations)),
        y=_probabilities(problem.y, loss, output),
        link=link(loss, output),
        loss=float(ops.to_host(value)),
        dl_df=hosted(gradients.dl_df),
        dl_dh=hosted(np.empty((0, 0)) if each is None else each for each in gradients.dl_dh),
        dl_domega=hosted(gradients.weights),
        dl_dbeta=hosted(gradients.biases),
    )


def _slopes(ops: Ops, trace: Trace, k: int, activation: str) -> Array:
    """a'[f_k] (B, D): the backward pass of a layer whose weights are the identity, from a gradient of ones."""
    xp, f = ops.xp, trace.f[k]
    width = f.shape[1]
    slopes: Array = xp.empty_like(f)
    below = LayerBelow(
        f=f,
        h=trace.h[k + 1],
        activation=activation,
        dl_dh=xp.empty_like(f),
        dl_df=slopes,
        scratch=trace.scratch[k],
        dropout=None,
        traced=True,
    )
    unused = xp.empty((width, width), f.dtype), xp.empty(width, f.dtype)
    ops.layer_backward(
        xp.ones_like(f), trace.h[k + 1], xp.eye(width, dtype=f.dtype), trace.scratch[k], *unused, below
    )
    return slopes


def _probabilities(targets: Values, loss: Loss, output: Values) -> Values:
    """(B, O): labels as one-hot rows, and with label smoothing s (1 - s) y + s / O."""
    if loss.name != "softmax_cross_entropy":
        return targets
    outputs = output.shape[1]
    given: Values = targets if targets.ndim == 2 else np.eye(outputs, dtype=output.dtype)[targets]
    if loss.label_smoothing == 0.0:
        return given
    return np.asarray((1.0 - loss.label_smoothing) * given + loss.label_smoothing / outputs, output.dtype)
