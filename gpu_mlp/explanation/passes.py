"""The arrays of one forward and backward pass on the host, as the package's own code computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import LayerBelow
from gpu_mlp.config import Loss
from gpu_mlp.errors import DataError, ShapeError
from gpu_mlp.model import link
from gpu_mlp.network.backward import Gradients
from gpu_mlp.network.forward import Trace
from gpu_mlp.network.losses import check_targets, evaluate_loss, to_targets
from gpu_mlp.network.network import Network

__all__ = ["Passes", "run_passes"]

Values = NDArray[Any]


@dataclass(frozen=True)
class Passes:
    """Samples as rows: h[k] (B, D_k), f[k] and slopes[k] = a'[f_k] (B, D_{k+1}), and the gradients.

    y (B, O) as the loss reads it: of labels their probabilities, with their smoothing. link: softmax(f_K), say.
    dl_dh[0] and the last of slopes do not exist and are empty.
    """

    activations: tuple[str, ...]
    omega: list[Values]
    beta: list[Values]
    h: list[Values]
    f: list[Values]
    slopes: list[Values]
    y: Values
    targets: Values
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
    ops = network.ops
    inputs = network.to_inputs(x)
    if len(inputs) == 0:
        raise ShapeError("the input has no rows; give at least one")
    if not bool(ops.xp.isfinite(inputs).all()):
        raise DataError("the input holds NaN or infinity; give finite numbers")
    targets = to_targets(ops, loss, y, outputs=network.layer_sizes[-1], dtype=network.dtype)
    check_targets(ops, loss, targets, outputs=network.layer_sizes[-1])
    if len(targets) != len(inputs):
        raise ShapeError(f"there are {len(targets)} targets for {len(inputs)} rows; give one target a row")
    with np.errstate(over="ignore", invalid="ignore"):
        trace = network.forward(inputs.copy())
        value, dl_df = evaluate_loss(ops, loss, trace.output, targets)
        gradients = network.backward(trace, dl_df)
        found = _on_host(network, trace, gradients, targets, loss, value)
    if not all(np.isfinite(each).all() for each in (*found.f, *found.dl_domega, np.array(found.loss))):
        raise DataError(
            f"the network overflows {network.dtype} with this input, so that there is nothing to explain; give smaller "
            "numbers"
        )
    return found


def _on_host(
    network: Network, trace: Trace, gradients: Gradients, targets: Array, loss: Loss, value: Array
) -> Passes:
    ops = network.ops

    def hosted(arrays: Any) -> list[Values]:
        return [np.array(ops.to_host(array)) for array in arrays]

    output = ops.to_host(trace.output)
    return Passes(
        activations=network.activations,
        omega=hosted(network.weights),
        beta=hosted(network.biases),
        h=hosted(trace.h),
        f=hosted(trace.f),
        slopes=hosted(_slopes(ops, trace, k, name) for k, name in enumerate(network.activations)),
        y=_probabilities(ops.to_host(targets), loss, output),
        targets=ops.to_host(targets),
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
