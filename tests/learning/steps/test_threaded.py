"""The step that spreads over threads: the same numbers as the plain one, whatever the sizes and options."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.base import LOSS_NAMES, Array
from gpu_mlp.backends.blas_threads import blas_threads
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import SGD, Adam, Lion, Optimizer, OptimizerState
from gpu_mlp.learning.steps import TrainingStep, threaded
from gpu_mlp.learning.steps.layerwise import LayerwiseStep
from gpu_mlp.learning.steps.threaded import ThreadedStep, threads_for
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

LIMIT = 64 * 1024


class Run:
    """A network with one kind of step of `rows` rows, on random rows and targets."""

    def __init__(
        self,
        sizes: tuple[int, ...],
        rows: int,
        *,
        threads: int,
        loss: str = "squared_error",
        optimizer: Optimizer | None = None,
        dropout: float = 0.0,
        clip: float | None = None,
        weighted: bool = False,
        dtype: Any = "float64",
    ) -> None:
        rng = np.random.default_rng(len(sizes) + rows)
        self.network = Network(sizes, activation="tanh", seed=3, dtype=dtype, device="cpu")
        self.network.biases = [rng.normal(size=width) for width in sizes[1:]]
        buffer = ParameterBuffer(self.network.ops, self.network.parameters.layout, dtype)
        what: dict[str, Any] = {"dropout": dropout, "seed": 5}
        self.gradients = buffer
        factors = Factors(self.network.ops, self.network.parameters)

        def part(gradients: ParameterBuffer, start: int, stop: int) -> LayerwiseStep:
            return LayerwiseStep(
                self.network, factors, Loss(loss), gradients, stop - start, first_row=start, **what
            )

        self.step: Any = (
            ThreadedStep(self.network, buffer, rows, part, threads=threads)
            if threads
            else part(buffer, 0, rows)
        )
        self.optimizer = OptimizerState(
            self.network.ops, optimizer or Adam(1e-2), self.network.parameters.flat
        )
        self.x = rng.normal(size=(rows, sizes[0])).astype(dtype)
        self.y: Array = rng.random((rows, sizes[-1])).astype(dtype)
        if loss == "softmax_cross_entropy":
            self.y = rng.integers(0, sizes[-1], rows)
        share = rng.random(rows) if weighted else np.ones(rows)
        self.share = (share / share.sum()).astype(dtype)
        self.clip = None if clip is None else self._clip(clip)

    def _clip(self, largest: float) -> Any:
        norm, coefficient = np.zeros((), self.network.dtype), np.zeros((), self.network.dtype)
        scratch = np.empty_like(self.network.parameters.flat)
        clip = self.network.ops.clip_global_norm
        return lambda flat, loss: clip(largest, flat, norm, coefficient, scratch)

    def once(self) -> float:
        self.step.run(self.x, self.y, self.share, self.optimizer, 1e-2, self.clip)
        return float(self.step.loss)


def check_same(sizes: tuple[int, ...], rows: int, threads: int, **settings: Any) -> None:
    """Five steps with and without threads: losses, gradients and parameters agree to rounding."""
    plain = Run(sizes, rows, threads=0, **settings)
    spread = Run(sizes, rows, threads=threads, **settings)
    for _ in range(5):
        assert spread.once() == pytest.approx(plain.once(), rel=1e-12)
        np.testing.assert_allclose(spread.gradients.flat, plain.gradients.flat, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        spread.network.parameters.flat, plain.network.parameters.flat, rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize(
    ("sizes", "rows"),
    [((3, 7, 5, 2), 64), ((31, 33, 129, 1), 131), ((5, 1), 29), ((127, 2, 3), 257), ((1, 1, 1, 1), 20)],
)
def test_threads_compute_what_one_does(sizes: tuple[int, ...], rows: int, threads: int) -> None:
    """Odd sizes, layers narrower than the threads are many, and no hidden layer."""
    check_same(sizes, rows, threads)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_they_do_so_for_every_loss(loss: str) -> None:
    check_same((6, 17, 4), 37, 3, loss=loss, weighted=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.5},
        {"clip": 1e-3},
        {"clip": 1e-3, "dropout": 0.3, "weighted": True},
        {"optimizer": SGD(1e-2, momentum=0.9, weight_decay=0.1)},
        {"optimizer": Lion(1e-3, weight_decay=0.1)},
    ],
    ids=str,
)
def test_they_do_so_with_every_option(settings: dict[str, Any]) -> None:
    check_same((6, 19, 23, 4), 66, 3, **settings)


def test_the_dropout_masks_are_bit_for_bit_those_of_one_thread() -> None:
    runs = [Run((6, 19, 23, 4), 66, threads=threads, dropout=0.4) for threads in (0, 3)]
    for run in runs:
        run.once()
    plain, spread = (run.step for run in runs)
    assert isinstance(plain, LayerwiseStep)
    assert isinstance(spread, ThreadedStep)
    for layer, one in enumerate(plain.dropouts):
        parts = [part.dropouts[layer] for part in spread.parts]
        assert one is not None
        assert 0.0 < float((one.multiplier == 0.0).mean()) < 1.0
        masks = [part.multiplier for part in parts if part is not None]
        np.testing.assert_array_equal(np.concatenate(masks), one.multiplier)


def test_whole_numbers_give_the_same_bits_as_one_thread() -> None:
    """A linear network of whole numbers, of which every sum is exact in any order."""
    runs = [Run((8, 5), 64, threads=threads, optimizer=SGD(1.0)) for threads in (0, 3)]
    rng = np.random.default_rng(0)
    omega, x, y = (rng.integers(-4, 5, shape).astype(float) for shape in ((5, 8), (64, 8), (64, 5)))
    for run in runs:
        run.network.set_parameters([omega], [np.arange(5.0)])
        run.x, run.y = x, y
        run.once()
    np.testing.assert_array_equal(runs[0].network.parameters.flat, runs[1].network.parameters.flat)


def test_the_same_seed_gives_the_same_bits_twice() -> None:
    runs = [
        Run((64, 129, 10), 131, threads=3, dtype="float32", dropout=0.2, loss="softmax_cross_entropy")
        for _ in range(2)
    ]
    assert [[run.once() for _ in range(20)] for run in runs[:1]] == [
        [run.once() for _ in range(20)] for run in runs[1:]
    ]
    assert runs[0].network.parameters.flat.tobytes() == runs[1].network.parameters.flat.tobytes()


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.5, "clip": 0.1, "weighted": True}], ids=str)
def test_steps_allocate_no_array(settings: dict[str, Any]) -> None:
    run = Run((64, 256, 129, 10), 515, threads=2, dtype="float32", loss="softmax_cross_entropy", **settings)
    run.once()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            run.once()
        assert tracemalloc.get_traced_memory()[1] - before < LIMIT
    finally:
        tracemalloc.stop()


def test_blas_has_its_threads_again_after_a_step_and_after_an_error() -> None:
    before = blas_threads()
    run = Run((3, 4, 2), 64, threads=2)
    run.once()
    assert blas_threads() == before
    run.y = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        run.once()
    assert blas_threads() == before


def test_an_error_in_another_thread_comes_out() -> None:
    run = Run((3, 4, 2), 64, threads=2)
    assert isinstance(run.step, ThreadedStep)
    run.step.parts[1].network = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        run.once()


def test_numpys_settings_reach_every_thread_and_stay_what_they_were() -> None:
    run = Run((3, 4, 2), 64, threads=2)
    run.x[40:] = 1e300  # overflows in the second thread alone
    run.network.weights[0][...] = 1e300
    size = np.getbufsize()
    with np.errstate(over="ignore", invalid="ignore"):
        run.once()  # warnings are errors here
    with np.errstate(over="raise", invalid="raise"), pytest.raises(FloatingPointError):
        run.once()
    assert np.getbufsize() == size


def test_a_layer_that_is_not_finite_is_found_in_any_part() -> None:
    run = Run((3, 4, 2), 64, threads=2)
    run.x[63, 0] = np.nan
    run.once()
    assert run.step.finite_layers() == [False, False]
    run = Run((3, 4, 2), 64, threads=2)
    run.network.weights[1][...] = np.inf
    with np.errstate(invalid="ignore"):
        run.once()
    assert run.step.finite_layers() == [True, False]


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "blas_threads", lambda: 2)


@pytest.mark.usefixtures("two_threads")
def test_threads_are_for_large_steps_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_compiled, "has_numba", lambda: False)  # whose step has threads of its own
    large, small = (Network(sizes, device="cpu") for sizes in ((784, 512, 512, 10), (2, 4, 7, 3, 2)))
    assert threads_for(large, 512) == 2
    assert threads_for(large, 256) == 1  # too few rows for each
    assert threads_for(small, 2048) == 1  # too little work
    assert isinstance(
        TrainingStep(large, loss="squared_error", batch_size=512).room_for(512)[1], ThreadedStep
    )
    assert not isinstance(
        TrainingStep(small, loss="squared_error", batch_size=512).room_for(512)[1], ThreadedStep
    )
    rounded = TrainingStep(large, loss="squared_error", batch_size=512, precision="bf16")
    assert isinstance(
        rounded.room_for(512)[1], LayerwiseStep
    )  # whose copy of the parameters is one for all rows
    large.ops = replace(large.ops, device="cuda:0")
    assert threads_for(large, 512) == 1


def test_a_blas_with_one_thread_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "blas_threads", lambda: 1)
    assert threads_for(Network((784, 512, 512, 10), device="cpu"), 2048) == 1


def test_more_threads_than_the_rows_keep_busy_are_left_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded, "blas_threads", lambda: 64)
    assert threads_for(Network((784, 512, 512, 10), device="cpu"), 2048) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_gets_threads_of_its_own() -> None:
    """In a fresh process, since forking the tests' own is not safe."""
    code = """
import os, signal
from tests.learning.steps.test_threaded import Run
run = Run((3, 4, 2), 64, threads=2)
run.once()
if os.fork() == 0:
    signal.alarm(20)  # a pool without its threads would wait for ever
    run.once()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
