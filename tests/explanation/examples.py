"""Explanations that several tests look at."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

import gpu_mlp
from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES
from gpu_mlp.explanation.explain import Explanation, explain
from tests.network.random_networks import Problem, random_problem

__all__ = ["explained", "network_of", "problems", "textbook"]


def network_of(problem: Problem, dtype: Any = "float64") -> gpu_mlp.Network:
    """On the CPU."""
    config = gpu_mlp.NetworkConfig(problem.sizes, problem.activations, dtype=dtype)
    return gpu_mlp.Network.from_parameters(config, problem.weights, problem.biases, "cpu")


def explained(problem: Problem, notation: str = "columns") -> Explanation:
    """Its one step."""
    return explain(network_of(problem), problem.x, problem.y, loss=problem.loss, notation=notation)


def problems(count: int) -> list[Problem]:
    """Random ones over all activations and losses, without weights of the samples."""
    rng = np.random.default_rng(7)
    return [
        replace(
            random_problem(rng, ACTIVATION_NAMES[i % len(ACTIVATION_NAMES)], LOSS_NAMES[i % len(LOSS_NAMES)]),
            sample_weight=None,
        )
        for i in range(count)
    ]


@cache
def textbook(*, notation: str = "columns", batch: int = 1) -> Explanation:
    """2-4-7-3-2 with biases, softmax cross-entropy."""
    network = gpu_mlp.Network((2, 4, 7, 3, 2), dtype="float64", device="cpu")
    rng = np.random.default_rng(0)
    network.biases = [rng.normal(0, 0.5, width) for width in network.layer_sizes[1:]]
    return explain(network, rng.normal(size=(batch, 2)), rng.integers(0, 2, batch), notation=notation)
