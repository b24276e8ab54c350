"""What is trained: sizes, batch and data, the same for every contestant, and what the project promises of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from contest import LOSS_TOLERANCE

import gpu_mlp

__all__ = ["BETA1", "BETA2", "EPSILON", "FIRST_SCALE", "PROBLEMS", "Goal", "Precision", "Problem"]

Precision: TypeAlias = Literal["float32", "tf32", "bf16", "fp16", "float64"]

# Adam's constants, on all sides.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
# Of the loss in fp16, on all sides. At 2^16, where GradScaler and TrainingStep begin, gradients of weights that are
# of half precision, as theirs are and ours are not, overflow here, and steps would be skipped by some.
FIRST_SCALE = 2.0**10
# By precision. Rounded ones: 3 times or more what contestants were seen to differ by in the steps that are compared, on
# a CPU and on the problems below in these precisions, the wide one with 1024 or 2048 units and fewer rows: NumPy's
# rounding, PyTorch's autocast and JAX, in tf32 by 1.8e-4, in bf16 by 1.6e-3, in fp16 by 3.0e-4 (a library without TF32
# on a CPU used float32). A learning rate that is 10 % off makes 1.6e-2 or more.
LOSS_TOLERANCES: Mapping[str, float] = {
    "float32": LOSS_TOLERANCE,
    "float64": LOSS_TOLERANCE,
    "tf32": 1e-3,
    "bf16": 5e-3,
    "fp16": 1e-3,
}


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
    precision: Precision = "float32"  # of the products
    learning_rate: float = 1e-3
    alone: bool = False  # contestants that time their products are prepared when nobody else is at work

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{'-'.join(map(str, self.sizes))} @ {self.batch} {self.precision}"

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """Of the parameters, the data and the loss."""
        return "float64" if self.precision == "float64" else "float32"

    @property
    def loss_tolerance(self) -> float:
        """How far two losses may be apart, of their size or of 1."""
        return LOSS_TOLERANCES[self.precision]

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
MIDDLING = (784, 512, 512, 10)


def _tabular(batch: int) -> Problem:
    """At 1e-3 a few of the 20 losses that are compared jump, and float32's roundings grow to 1e-4 on the way."""
    return Problem(TABULAR, batch, SMALL, learning_rate=3e-4)


def _wide(precision: Precision) -> Problem:
    return Problem(
        (784, 4096, 4096, 4096, 10),
        8192,
        (Goal("best", 1.0),),
        gemm_share=0.85,
        precision=precision,
        learning_rate=1e-5,
        alone=True,
    )


# In the order of importance: where time is short, the last are skipped. First one batch of every small network and the
# wide one in every precision, each of which has a promise that no other row shows; then the other batches.
PROBLEMS: Sequence[Problem] = (
    _tabular(256),
    Problem(NARROW, 64, SMALL),
    Problem(TINY, 64, SMALL),
    _wide("float32"),
    _wide("bf16"),
    _wide("tf32"),
    _wide("fp16"),
    _tabular(1024),
    Problem(NARROW, 1024, SMALL),
    Problem(TINY, 1024, SMALL),
    _wide("float64"),
    Problem(MIDDLING, 8192, precision="bf16"),
    Problem(MIDDLING, 8192),
    Problem(MIDDLING, 128),
    Problem(MIDDLING, 8192, precision="tf32"),
    Problem(NARROW, 1024, precision="bf16"),
    Problem(NARROW, 1024, precision="tf32"),
    _tabular(64),
    Problem(NARROW, 256, SMALL),
    Problem(TINY, 256, SMALL),
)
