"""The textbook's worked network: K = 5 hidden ReLU layers of 6 units, one input, one output.

Prince, Understanding Deep Learning, chapter 7. None of the numbers below was computed by this package.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.network import losses
from gpu_mlp.network.backward import Gradients
from gpu_mlp.network.network import Network

OUTPUT = 1.906605
LOSS = 327.3709
WEIGHT_NORMS = (32.3744, 91.2851, 66.6959, 75.4382, 98.3152, 400.3303)
BIAS_NORMS = (26.9786, 15.5749, 10.0501, 8.1473, 5.2125, 36.1868)


def drawn_parameters() -> tuple[list[Any], list[Any]]:
    """Standard normal numbers in the book's order: first and last layer before the others."""
    state = np.random.RandomState(0)
    weights: list[Any] = [None] * 6
    biases: list[Any] = [None] * 6
    weights[0], weights[5] = state.normal(size=(6, 1)), state.normal(size=(1, 6))
    biases[0], biases[5] = state.normal(size=6), state.normal(size=1)
    for k in range(1, 5):
        weights[k], biases[k] = state.normal(size=(6, 6)), state.normal(size=6)
    return weights, biases


def worked(device: str, dtype: Literal["float32", "float64"]) -> tuple[float, float, Gradients, Network]:
    """Output, loss and gradients."""
    net = Network((1, 6, 6, 6, 6, 6, 1), activation="relu", dtype=dtype, device=device)
    net.set_parameters(*drawn_parameters())
    trace = net.forward([[1.2]])
    loss, dl_df = losses.squared_error(trace.output, [[20.0]])
    return float(trace.output[0, 0]), float(loss), net.backward(trace, dl_df), net


def norms(ops: Ops, layers: Any) -> list[float]:
    """The Frobenius norm of every layer's array."""
    return [float(np.linalg.norm(ops.to_host(array))) for array in layers]


def test_float64_gives_every_known_digit(ops: Ops) -> None:
    output, loss, back, _ = worked(ops.device, "float64")
    assert round(output, 6) == OUTPUT
    assert round(loss, 4) == LOSS
    assert [round(norm, 4) for norm in norms(ops, back.weights)] == list(WEIGHT_NORMS)
    assert [round(norm, 4) for norm in norms(ops, back.biases)] == list(BIAS_NORMS)


def test_float32_gives_them_to_single_precision(ops: Ops) -> None:
    output, loss, back, _ = worked(ops.device, "float32")
    assert output == pytest.approx(OUTPUT, rel=2e-5)
    assert loss == pytest.approx(LOSS, rel=2e-6)
    assert norms(ops, back.weights) == pytest.approx(WEIGHT_NORMS, rel=2e-5)
    assert norms(ops, back.biases) == pytest.approx(BIAS_NORMS, rel=2e-5)


def test_every_bracket_is_the_finite_difference_it_stands_for(ops: Ops) -> None:
    """The book's own check: each weight moved by 1e-6 alone moves the loss by the gradient."""
    _, loss, back, net = worked(ops.device, "float64")
    for array, gradient in zip((*net.weights, *net.biases), (*back.weights, *back.biases), strict=True):
        index = tuple(size - 1 for size in array.shape)
        kept = float(array[index])
        array[index] = kept + 1e-6
        moved, _ = losses.squared_error(net.forward([[1.2]]).output, [[20.0]])
        array[index] = kept
        assert (float(moved) - loss) / 1e-6 == pytest.approx(float(gradient[index]), rel=1e-4, abs=1e-4)
