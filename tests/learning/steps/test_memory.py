"""A step's memory on the CPU: everything is allocated before the first step, nothing within one."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES
from gpu_mlp.learning.optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.network.network import Network
from tests.network.random_networks import random_targets

LIMIT = 64 * 1024  # bytes


@pytest.fixture(autouse=True, params=["compiled", "layerwise"])
def form(request: pytest.FixtureRequest) -> None:
    """With Numba, whose steps are compiled, and without."""
    if request.param == "layerwise":
        request.getfixturevalue("without_numba")


def growth(call: Callable[[], object], repeats: int = 100) -> int:
    """By how many bytes the peak of Python's and NumPy's memory grows over 100 calls, after two."""
    call()
    call()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(repeats):
            call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def step_growth(
    sizes: tuple[int, ...],
    batch: int,
    *,
    activation: str = "relu",
    loss: str = "squared_error",
    optimizer: Optimizer | None = None,
    dtype: Any = "float32",
    weighted: bool = False,
    last: int = 0,
    repeats: int = 10,
    **settings: Any,
) -> int:
    """The growth of steps with these settings; `last` rows in every second batch."""
    rng = np.random.default_rng(0)
    net = Network(sizes, activation=activation, dtype=dtype, device="cpu")
    step = TrainingStep(net, loss=loss, optimizer=optimizer or Adam(1e-5), batch_size=batch, **settings)
    x = rng.normal(size=(batch, sizes[0])).astype(dtype)
    y = random_targets(rng, loss, batch, sizes[-1])
    y = y if y.ndim == 1 else y.astype(dtype)
    weight = rng.random(batch).astype(dtype) if weighted else None

    def call() -> None:
        step(x, y, weight)
        if last:
            step(x[:last], y[:last], None if weight is None else weight[:last])

    return growth(call, repeats)


@pytest.mark.parametrize(
    ("sizes", "batch"),
    [
        ((2, 4, 7, 3, 2), 64),
        ((64, 128, 64, 10), 128),
        ((784, 512, 512, 10), 256),
        ((1, 1), 1),
        ((31, 129, 33), 513),
    ],
)
def test_a_hundred_steps_allocate_no_array(sizes: tuple[int, ...], batch: int) -> None:
    repeats = 100 if batch < 200 else 10
    assert step_growth(sizes, batch, repeats=repeats) < LIMIT
    assert step_growth(sizes, batch, repeats=repeats, loss="softmax_cross_entropy") < LIMIT


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.5},
        {"clip_norm": 0.1},
        {"weighted": True},
        {"last": 127},
        {"dropout": 0.5, "clip_norm": 0.1, "weighted": True, "last": 127},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_does_any_option(settings: dict[str, Any], dtype: str) -> None:
    assert step_growth((64, 128, 129, 10), 257, dtype=dtype, **settings) < LIMIT


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_does_any_activation(activation: str, dtype: str) -> None:
    assert step_growth((31, 129, 128, 3), 257, activation=activation, dtype=dtype) < LIMIT


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_does_any_loss(loss: str, dtype: str) -> None:
    """Many outputs, so that a temporary of the outputs' shape would be seen."""
    assert step_growth((3, 5, 1000), 257, loss=loss, dtype=dtype) < LIMIT


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(1e-5),
        SGD(1e-5, momentum=0.9, weight_decay=0.1),
        SGD(1e-5, momentum=0.9, dampening=0.1),
        SGD(1e-5, momentum=0.9, nesterov=True),
        RMSprop(1e-5),
        RMSprop(1e-5, momentum=0.9),
        Adagrad(1e-5, weight_decay=0.1),
        Adam(1e-5, weight_decay=0.1),
        AdamW(1e-5),
        Lion(1e-5, weight_decay=0.1),
    ],
)
def test_neither_does_any_optimizer(optimizer: Optimizer) -> None:
    """66,000 parameters: a temporary of their number would be 260 KB."""
    assert step_growth((127, 513, 2), 3, optimizer=optimizer) < LIMIT


@pytest.mark.parametrize("loss", ["squared_error", "softmax_cross_entropy"])
def test_neither_does_a_step_that_gathers_its_rows(loss: str) -> None:
    """The steps of `train`: rows by index out of the whole table, the last batch smaller."""
    rng = np.random.default_rng(0)
    net = Network((64, 128, 10), device="cpu")
    step = TrainingStep(net, loss=loss, batch_size=512, dropout=0.5, clip_norm=1.0)
    x, weight = rng.normal(size=(900, 64)).astype("float32"), rng.random(900).astype("float32")
    y = (
        rng.integers(0, 10, 900)
        if loss == "softmax_cross_entropy"
        else rng.random((900, 10)).astype("float32")
    )
    order, value = rng.permutation(900), np.zeros((), "float32")

    def call() -> None:
        step.run_rows(x, y, weight, order[:512], value)
        step.run_rows(x, y, weight, order[512:], value)

    assert growth(call, 10) < LIMIT


def test_the_whole_memory_is_there_before_the_first_step() -> None:
    """The first step may fill caches of Python, but makes no array of the batch's size."""
    net = Network((64, 512, 10), device="cpu")
    step = TrainingStep(net, loss="squared_error", batch_size=512, dropout=0.5, clip_norm=1.0)
    x, y = np.zeros((512, 64), np.float32), np.zeros((512, 10), np.float32)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        step(x, y)
        assert tracemalloc.get_traced_memory()[1] - before < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_an_array_of_the_batchs_size_would_be_seen() -> None:
    """The negative control: one temporary of 128 x 128 float32 a step, freed at once."""
    kept = np.zeros((128, 128), np.float32)

    def call() -> None:
        np.add(kept + 1.0, kept, out=kept)

    assert growth(call) >= LIMIT
