"""Arguments of the wrong kind from Python: one sentence of the package's own, which says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp import Network, TrainingConfig, TrainingStep
from gpu_mlp.errors import ConfigError
from tests.data.refusals import refused

X, Y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
TABLE = {"age": list(range(20)), "g": [0.5] * 20, "y": [0, 1] * 10}


def net() -> Network:
    return Network((2, 3, 2), device="cpu")


def fit(**settings: Any) -> object:
    return gpu_mlp.fit_table(TABLE, "y", device="cpu", **settings)


MISTAKES: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "an optimizer's name": (
        lambda: TrainingStep(net(), loss="huber", optimizer="adam"),  # type: ignore[arg-type]
        ("optimizer is 'adam', but must be an optimizer", "gpu_mlp.Adam("),
    ),
    "a loss that is none": (
        lambda: TrainingStep(net(), loss=3),  # type: ignore[arg-type]
        ("loss is 3, but must be a name",),
    ),
    "a config of train": (
        lambda: gpu_mlp.train(net(), X, Y, {"epochs": 3}),  # type: ignore[arg-type]
        ("config is {'epochs': 3}, but must be a TrainingConfig",),
    ),
    "an empty config": (lambda: gpu_mlp.train(net(), X, Y, {}), ("config is {}",)),  # type: ignore[arg-type]
    "one callback": (
        lambda: gpu_mlp.train(net(), X, Y, callbacks=gpu_mlp.Callback()),  # type: ignore[arg-type]
        ("callbacks is <", "but must be a sequence of callbacks"),
    ),
    "half a validation": (
        lambda: gpu_mlp.train(net(), X, Y, validation=(X,)),  # type: ignore[arg-type]
        ("validation has 1 parts, but must be a pair",),
    ),
    "a network to save": (
        lambda: gpu_mlp.save(net(), "x.safetensors"),  # type: ignore[arg-type]
        ("model is <Network", "but must be a Model"),
    ),
    "no activation": (
        lambda: Network((2, 3), activation=None, device="cpu"),  # type: ignore[arg-type]
        ("activation is None, but must be one name, or one for each hidden layer",),
    ),
    "one size": (
        lambda: Network(5, device="cpu"),  # type: ignore[arg-type]
        ("layer_sizes is 5, but must be at least two positive whole numbers",),
    ),
    "one width": (
        lambda: fit(hidden_layer_sizes=5),
        ("hidden_layer_sizes is 5, but must be a sequence of widths, such as (128, 64)",),
    ),
    "a width of nothing": (
        lambda: fit(hidden_layer_sizes=(8, 0)),
        ("a width of hidden_layer_sizes is 0, but must be a whole number, at least 1",),
    ),
    "a column to ignore": (
        lambda: fit(ignore="age"),
        ("ignore is 'age', but must be a sequence of columns' names, such as ['age']",),
    ),
    "a config of fit_table": (lambda: fit(config={"epochs": 3}), ("config is {'epochs': 3}",)),
    "activations of other layers": (
        lambda: fit(hidden_layer_sizes=(8, 4), activation=("relu",)),
        ("activation names 1 layers, but there are 2 hidden layers, of widths (8, 4)",),
    ),
    "a type between two": (
        lambda: Network((2, 3), dtype="float16", device="cpu"),  # type: ignore[arg-type]
        ("dtype 'float16' is unknown; choose one of float32, float64",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_a_sentence(mistake: str) -> None:
    call, says = MISTAKES[mistake]
    with refused(*says, error=ConfigError):
        call()


def test_sequences_of_every_kind_are_taken() -> None:
    network = Network(np.array([2, 3, 2]), activation=["tanh"], device="cpu")  # type: ignore[arg-type]
    assert (network.layer_sizes, network.activations) == ((2, 3, 2), ("tanh",))
    result = gpu_mlp.fit_table(
        TABLE,
        "y",
        ignore={"g"},
        hidden_layer_sizes=np.array([4]),  # type: ignore[arg-type]
        config=TrainingConfig(epochs=1),
        device="cpu",
    )
    assert result.model.network.layer_sizes == (1, 4, 2)
    assert result.model.ignored == ("g",)
