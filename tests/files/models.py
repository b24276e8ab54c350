"""One small model of every kind, untrained but with random weights, and rows it can predict."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np

from gpu_mlp.config import Loss
from gpu_mlp.data import Preparation, Target, read_table
from gpu_mlp.model import Model
from gpu_mlp.network.network import Network

ROWS = 40

METADATA = {"note": 'Zoë\'s "model" 🐍\n', "metrics": {"test": {"rmse": 0.1, "r2": None}}, "seed": 2**63 + 1}


def columns(rows: int = ROWS) -> dict[str, Any]:
    """Features of every kind, numbers and text with gaps."""
    rng = np.random.default_rng(3)
    return {
        "length (µm)": [None if i % 7 == 3 else float(v) for i, v in enumerate(rng.normal(5, 3, rows))],
        "count": rng.integers(0, 9, rows),
        "member": rng.random(rows) < 0.5,
        "colour": [None if i % 9 == 4 else str(c) for i, c in enumerate(rng.choice(["red", "grün"], rows))],
        "day": [date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 400, rows)],
    }


def random_network(
    sizes: tuple[int, ...], activation: str | tuple[str, ...] = "relu", dtype: Any = "float32"
) -> Network:
    """Weights and biases of a normal distribution."""
    net = Network(sizes, activation=activation, dtype=dtype, device="cpu", seed=7)
    rng = np.random.default_rng([6, len(sizes)])
    net.set_parameters(
        [rng.normal(0.0, 0.7, omega.shape) for omega in net.weights],
        [rng.normal(0.0, 0.3, beta.shape) for beta in net.biases],
    )
    return net


def table_model(
    values: Any,
    loss: str,
    *,
    hidden: tuple[int, ...] = (6, 4),
    activation: str | tuple[str, ...] = "relu",
    dtype: Any = "float32",
) -> tuple[Model, dict[str, Any]]:
    """A model that predicts the column 'y' of these values from the columns above, and the whole table."""
    source = {**columns(len(values)), "y": values}
    table = read_table(source)
    task = "classification" if "cross_entropy" in loss else "regression"
    target = Target.fit(table, "y", task, standardise=loss != "poisson")
    preparation = Preparation.fit(table, [name for name in table.names if name != "y"])
    outputs = 1 if loss == "binary_cross_entropy" else len(target.classes) or 1
    net = random_network((len(preparation.output_names), *hidden, outputs), activation, dtype)
    return Model(net, Loss(loss), target, preparation, ("id", "name"), dict(METADATA)), source


def array_model(
    loss: str, sizes: tuple[int, ...], activation: str | tuple[str, ...] = "relu", dtype: Any = "float32"
) -> tuple[Model, Any]:
    """A model without preparation and target, and an array for it."""
    x = np.random.default_rng(1).normal(size=(ROWS, sizes[0]))
    return Model(random_network(sizes, activation, dtype), Loss(loss)), x


def _cycle(*labels: Any) -> list[Any]:
    return [labels[i % len(labels)] for i in range(ROWS)]


NORMAL = np.random.default_rng(4).normal(100, 20, ROWS)

KINDS: dict[str, Callable[[], tuple[Model, Any]]] = {
    "text labels": lambda: table_model(_cycle("a", "ß", ""), "softmax_cross_entropy"),
    "integer labels": lambda: table_model(_cycle(-3, 0, 2**40), "softmax_cross_entropy"),
    "decimal labels": lambda: table_model(_cycle(0.1, 0.25, 1e-7), "softmax_cross_entropy", dtype="float64"),
    "true and false": lambda: table_model(_cycle(True, False, False), "softmax_cross_entropy"),
    "one logit": lambda: table_model(_cycle("no", "yes"), "binary_cross_entropy"),
    "regression": lambda: table_model(NORMAL, "squared_error"),
    "huber in float64": lambda: table_model(NORMAL, "huber", dtype="float64"),
    "counts": lambda: table_model(_cycle(0, 3, 1), "poisson"),
    "linear": lambda: table_model(NORMAL, "absolute_error", hidden=()),
    "mixed activations": lambda: table_model(NORMAL, "quantile", hidden=(5, 3), activation=("gelu", "tanh")),
    "bare arrays": lambda: array_model("softmax_cross_entropy", (2, 4, 7, 3, 2)),
    "several outputs": lambda: array_model("squared_error", (3, 5, 4), "silu", "float64"),
    "several labels": lambda: array_model("binary_cross_entropy", (3, 4), ()),
}


def parameter_bits(model: Model) -> list[bytes]:
    """Every weight's and every bias's bytes."""
    net = model.network
    return [np.array(array).tobytes() for array in (*net.weights, *net.biases)]
