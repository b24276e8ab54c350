"""Networks that a command makes by itself: their widths as they are written, random weights, and random targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_mlp.config import Loss
from gpu_mlp.errors import ConfigError
from gpu_mlp.network.network import Network

__all__ = ["activations_of", "random_network", "random_targets", "widths_of"]


def widths_of(text: str) -> tuple[int, ...]:
    """Of "2-4-7-3-2"; raises ConfigError for what is no architecture."""
    parts = [part.strip() for part in text.split("-")]
    if len(parts) < 2 or not all(
        part.isascii() and part.isdigit() and 0 < int(part) < 10**6 for part in parts
    ):
        raise ConfigError(
            f"the layer sizes are {text!r}, but must be two or more positive numbers such as 2-4-7-3-2"
        )
    return tuple(map(int, parts))


def activations_of(text: str) -> str | tuple[str, ...]:
    """One name for all hidden layers, or one each, comma-separated."""
    names = tuple(name.strip() for name in text.split(","))
    return names[0] if len(names) == 1 else names


def random_network(
    widths: tuple[int, ...], activation: str, seed: int, dtype: str, device: str
) -> tuple[Network, np.random.Generator]:
    """A network with random biases too, and the generator that goes on from there.

    Biases of zero put units whose inputs are all dead exactly on the kink of relu.
    """
    network = Network(
        widths,
        activation=activations_of(activation),
        seed=seed,
        dtype=dtype,  # type: ignore[arg-type]
        device=device,
    )
    rng = np.random.default_rng(seed)
    network.biases = [rng.normal(0.0, 0.5, width) for width in widths[1:]]
    return network, rng


def random_targets(rng: np.random.Generator, loss: Loss, rows: int, outputs: int) -> Any:
    """What the loss takes."""
    match loss.name:
        case "softmax_cross_entropy":
            return rng.integers(0, outputs, rows)
        case "binary_cross_entropy":
            return rng.integers(0, 2, (rows, outputs)).astype(float)
        case "poisson":
            return rng.poisson(2.0, (rows, outputs)).astype(float)
    return rng.normal(size=(rows, outputs))
