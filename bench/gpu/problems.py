"""What is trained: sizes, batch and data, the same for every contestant, and what the project promises of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import gpu_mlp

__all__ = ["BETA1", "BETA2", "EPSILON", "PROBLEMS", "Goal", "Problem"]

# Adam's constants, on all sides.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Goal:
    """How many times faster than `against` ("eager": the faster eager form; "best": the fastest other form)."""

    against: Literal["eager", "best"]
    ratio: float


@dataclass(frozen=True)
class Problem:
    """One network, ReLU inside, trained on one batch over and over; softmax of labels, or one output and its square."""

    sizes: tuple[int, ...]
    batch: int
    goals: tuple[Goal, ...] = ()
    gemm_share: float | None = None  # of the measured rate of matrix products
    dtype: Literal["float32", "float64"] = "float32"
    learning_rate: float = 1e-3
    alone: bool = (
        False  # contestants are prepared one after the other: they time their products, or need memory
    )

    @property
    def name(self) -> str:
        """As the table shows it."""
        return (
            f"{'-'.join(map(str, self.sizes))} @ {self.batch}{' float64' if self.dtype == 'float64' else ''}"
        )

    @property
    def loss(self) -> str:
        """What gpu_mlp calls the loss."""
        return "squared_error" if self.sizes[-1] == 1 else "softmax_cross_entropy"

    @property
    def flops(self) -> int:
        """Of the products of a step: three a layer, and none for the gradient of the input."""
        pairs = list(zip(self.sizes, self.sizes[1:], strict=False))
        return self.batch * (6 * sum(i * o for i, o in pairs) - 2 * pairs[0][0] * pairs[0][1])

    def network(self, device: str) -> gpu_mlp.Network:
        """With the initial weights that everybody starts from."""
        return gpu_mlp.Network(self.sizes, activation="relu", seed=0, dtype=self.dtype, device=device)

    def data(self) -> tuple[Any, Any]:
        """x (B, D) and labels (B,), int64, or targets (B, 1)."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.batch, self.sizes[0])).astype(self.dtype)
        if self.loss == "squared_error":
            return x, rng.normal(size=(self.batch, 1)).astype(self.dtype)
        return x, rng.integers(0, self.sizes[-1], self.batch)


SMALL = (Goal("eager", 5.0), Goal("best", 2.0))
TINY, NARROW, TABULAR = (2, 4, 7, 3, 2), (64, 128, 64, 10), (28, 300, 300, 300, 1)
WIDE = (784, 4096, 4096, 4096, 10)

# In the order of importance: where time is short, the last are skipped.
PROBLEMS: Sequence[Problem] = (
    Problem(TABULAR, 256, SMALL),
    Problem(NARROW, 64, SMALL),
    Problem(TINY, 64, SMALL),
    Problem(WIDE, 8192, (Goal("best", 1.0),), gemm_share=0.85, learning_rate=1e-5, alone=True),
    Problem((784, 512, 512, 10), 128),
    Problem(TABULAR, 1024, SMALL),
    Problem(NARROW, 1024, SMALL),
    Problem(TINY, 1024, SMALL),
    Problem((784, 512, 512, 10), 8192),
    Problem(TABULAR, 64, SMALL),
    Problem(NARROW, 256, SMALL),
    Problem(TINY, 256, SMALL),
    Problem(
        WIDE, 8192, (Goal("best", 1.0),), gemm_share=0.85, dtype="float64", learning_rate=1e-5, alone=True
    ),
)
