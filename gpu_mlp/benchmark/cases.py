"""What is measured: networks, batches, precisions, and a step of training, an inference, or a whole fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import PRECISION_NAMES
from gpu_mlp.config import check_choice

__all__ = ["EPOCHS", "PROBLEMS", "SUITES", "Case", "Data", "Problem", "cases_of", "data_of"]

EPOCHS = 2  # of a fit


@dataclass(frozen=True)
class Problem:
    """A network, ReLU between its layers, and what it learns: softmax cross-entropy, or squared error for 1 output.

    fit_rows: of the table of a fit, a multiple of the batches that it is measured with. learning_rate: Adam's, at which
    its loss falls from the first step on; one that lets it grow enlarges rounding, and nobody agrees with anybody.
    """

    name: str
    layer_sizes: tuple[int, ...]
    fit_rows: int
    learning_rate: float = 1e-3

    @property
    def is_regression(self) -> bool:
        """Whether it has the one output of a regression."""
        return self.layer_sizes[-1] == 1

    @property
    def parameters(self) -> int:
        """How many weights and biases it has."""
        return sum(outputs * (inputs + 1) for inputs, outputs in pairwise(self.layer_sizes))


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("tiny", (2, 4, 7, 3, 2), 20480),
        Problem("small", (64, 128, 64, 10), 10240),
        Problem("tabular", (28, 300, 300, 300, 1), 20480),
        Problem("mnist", (784, 512, 512, 10), 20480),
        Problem("wide", (784, 4096, 4096, 4096, 10), 4096, learning_rate=1e-5),
    )
}

Task = Literal["step", "inference", "fit"]


@dataclass(frozen=True)
class Case:
    """One row of a result: a step of Adam or a forward pass on a batch in place, or a fit of two epochs of a table."""

    problem: Problem
    batch: int
    precision: str
    task: Task

    @property
    def key(self) -> str:
        """Its name in results: "mnist/256/float32/step"."""
        return f"{self.problem.name}/{self.batch}/{self.precision}/{self.task}"

    @property
    def table_rows(self) -> int:
        """Of the data: a batch, or the table of a fit."""
        return self.problem.fit_rows if self.task == "fit" else self.batch

    @property
    def repeats(self) -> int:
        """Of the step or inference in one run."""
        return EPOCHS * self.table_rows // self.batch if self.task == "fit" else 1

    @property
    def multiplications(self) -> int:
        """Of the products: one for each weight and row, and in a step three less that for the input's gradient."""
        sizes = self.problem.layer_sizes
        weights = [inputs * outputs for inputs, outputs in pairwise(sizes)]
        forward = self.batch * sum(weights)
        once = forward if self.task == "inference" else 3 * forward - self.batch * weights[0]
        return self.repeats * once

    @property
    def bytes_needed(self) -> int:
        """About what a contestant takes: parameters with their moments, and every layer's batch several times."""
        width = 8 if self.precision == "float64" else 4
        table = self.table_rows * self.problem.layer_sizes[0]
        return width * (
            6 * self.problem.parameters + 8 * self.batch * sum(self.problem.layer_sizes) + 3 * table
        )


def _grid(
    names: str, batches: tuple[int, ...], tasks: tuple[Task, ...], precisions: tuple[str, ...]
) -> list[Case]:
    return [
        Case(PROBLEMS[name], batch, precision, task)
        for name in names.split()
        for precision in precisions
        for batch in batches
        for task in tasks
    ]


SUITES = {
    "quick": [
        Case(PROBLEMS["tiny"], 64, "float32", "step"),
        Case(PROBLEMS["small"], 128, "float32", "step"),
        Case(PROBLEMS["tabular"], 256, "float32", "step"),
        Case(PROBLEMS["mnist"], 256, "float32", "step"),
        Case(PROBLEMS["mnist"], 256, "float32", "inference"),
        Case(PROBLEMS["small"], 128, "float32", "fit"),
    ],
    "full": [
        *_grid(
            "tiny small tabular mnist",
            (64, 256, 1024, 4096, 16384, 65536),
            ("step", "inference"),
            ("float32",),
        ),
        *_grid("tiny small tabular mnist", (256, 4096), ("step",), ("float64",)),
        *_grid("wide", (64, 256, 1024, 4096), ("step", "inference"), ("float32",)),
        *_grid("tiny small tabular mnist", (128, 1024), ("fit",), ("float32",)),
        *_grid("wide", (1024,), ("fit",), ("float32",)),
    ],
}


def cases_of(suite: str, problems: tuple[str, ...] = (), precisions: tuple[str, ...] = ()) -> list[Case]:
    """The cases of a suite, or those of some problems in it, or its float32 in other precisions.

    Raises ConfigError for what is unknown.
    """
    check_choice("suite", suite, SUITES)
    for name in problems:
        check_choice("problem", name, PROBLEMS)
    for name in precisions:
        check_choice("precision", name, PRECISION_NAMES)
    cases = [case for case in SUITES[suite] if not problems or case.problem.name in problems]
    if not precisions:
        return cases
    plain = [case for case in cases if case.precision == "float32"]
    return [replace(case, precision=name) for name in precisions for case in plain]


@dataclass(frozen=True)
class Data:
    """What every contestant starts from: x (N, D_0), labels (N,) or values (N, 1), weights (out, in) and biases."""

    x: NDArray[Any]
    y: NDArray[Any]
    weights: list[NDArray[Any]]
    biases: list[NDArray[Any]]


def data_of(case: Case) -> Data:
    """The same in every run: rows that can be learnt, and He's initial weights."""
    rng = np.random.default_rng(0)
    dtype = np.dtype("float64" if case.precision == "float64" else "float32")
    sizes = case.problem.layer_sizes
    x = rng.normal(size=(case.table_rows, sizes[0])).astype(dtype)
    scores = x @ rng.normal(size=(sizes[0], sizes[-1])).astype(dtype)
    y = np.tanh(scores) if case.problem.is_regression else scores.argmax(axis=1)
    weights = [
        (rng.normal(size=(outputs, inputs)) * np.sqrt(2.0 / inputs)).astype(dtype)
        for inputs, outputs in pairwise(sizes)
    ]
    return Data(x, y, weights, [np.zeros(outputs, dtype) for outputs in sizes[1:]])
