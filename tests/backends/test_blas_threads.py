"""Python threads that train at once: each gets the bits it would get alone, and BLAS keeps its threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.blas_threads import blas_threads, one_blas_thread, spread_products
from gpu_mlp.learning.steps.cuda_graph import GraphStep
from gpu_mlp.learning.steps.threaded import threads_for
from gpu_mlp.learning.steps.training_step import TrainingStep
from gpu_mlp.network.network import Network

TRAINING = """
import threading
import numpy as np, gpu_mlp
from threadpoolctl import threadpool_info

rng = np.random.default_rng(0)
x, y = rng.normal(size=(2148, 784)).astype(np.float32), rng.integers(0, 10, 2148)  # the last batch: 100 rows

def train(seed, found):
    network = gpu_mlp.Network((784, 256, 10), seed=seed, device="cpu")
    config = gpu_mlp.TrainingConfig(epochs=8, batch_size=1024, seed=seed)
    gpu_mlp.train(network, x, y, config, validation=(x[:300], y[:300]))
    found[seed] = network.parameters.flat.tobytes()

alone, together = {}, {}
for seed in range(3):
    train(seed, alone)
threads = [threading.Thread(target=train, args=(seed, together)) for seed in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
train(0, again := {})
print(alone == together, alone[0] == again[0])
print({library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"})
"""


def test_threads_that_train_at_once_get_the_bits_they_get_alone() -> None:
    """In a process of its own, where BLAS has two threads on every machine."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    command = [sys.executable, "-c", TRAINING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == ["True True", "{2}"], done.stderr


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_threads_of_blas_are_counted_apart_from_the_limit_of_a_step() -> None:
    before, counted = blas_threads(), []
    with one_blas_thread:
        thread = in_thread(lambda: counted.append(blas_threads()))
        thread.join(0.05)
        assert counted == []  # it waits
    thread.join(10)
    assert counted == [before]


def test_spread_and_limited_products_take_turns() -> None:
    inside: list[str] = []
    lock = threading.Lock()
    most = {"limited": 0, "spread": 0, "both": 0}
    threads_of_limited: set[int] = set()

    def compute(kind: str, context: AbstractContextManager[None]) -> None:
        for _ in range(50):
            with context:
                with lock:
                    inside.append(kind)
                time.sleep(1e-4)
                with lock:
                    look()
                    if kind == "limited":
                        threads_of_limited.add(blas_threads())
                    inside.remove(kind)

    def look() -> None:
        limited, spread = inside.count("limited"), inside.count("spread")
        most["limited"] = max(most["limited"], limited)
        most["spread"] = max(most["spread"], spread)
        most["both"] = max(most["both"], min(limited, spread))

    before = blas_threads()
    kinds = (("limited", one_blas_thread), ("spread", spread_products)) * 3
    threads = [in_thread(partial(compute, *kind)) for kind in kinds]
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert (most["both"], threads_of_limited) == (0, {1})
    assert min(most["limited"], most["spread"]) >= 1
    assert blas_threads() == before


def test_the_last_to_end_restores_what_another_thread_limited() -> None:
    """threadpoolctl 3.8 lets no other Python thread set the number, unless the first has given that up."""
    before, entered, leave = blas_threads(), threading.Event(), threading.Event()

    def stay() -> None:
        with one_blas_thread:
            entered.set()
            leave.wait(10)

    first = in_thread(stay)
    entered.wait(10)
    with one_blas_thread:
        leave.set()
        first.join(10)
        assert blas_threads() == 1
    assert blas_threads() == before


def test_within_a_context_another_one_changes_nothing() -> None:
    """So whoever trains in a callback of a training neither waits for it nor changes its bits."""
    before = blas_threads()
    with one_blas_thread:
        with spread_products, one_blas_thread:
            assert blas_threads() == 1
        assert blas_threads() == 1
    with spread_products, one_blas_thread:
        assert blas_threads() == before
    assert blas_threads() == before


@pytest.mark.parametrize(
    ("sizes", "rows", "expected"),
    [
        ((2, 4, 3, 2), 10, spread_products),  # BLAS spreads none of its products
        ((20, 64, 64, 2), 64, spread_products),  # as many as BLAS just does not spread
        ((20, 64, 64, 2), 200, one_blas_thread),
        ((784, 512, 512, 10), 100, spread_products),
    ],
)
def test_a_small_step_has_one_thread(
    sizes: tuple[int, ...], rows: int, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_compiled, "has_numba", lambda: False)
    step = TrainingStep(Network(sizes, device="cpu"), loss="squared_error", batch_size=rows)
    room = step.room_for(rows)[1]
    assert not isinstance(room, GraphStep)
    assert room.products is expected


def test_beside_a_reader_larger_steps_have_one_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_compiled, "has_numba", lambda: False)
    for sizes, rows, expected in (
        ((40, 128, 64, 1), 512, one_blas_thread),
        ((784, 512, 512, 10), 100, spread_products),
        ((2, 4, 3, 2), 10, spread_products),
    ):
        network = Network(sizes, device="cpu")
        step = TrainingStep(network, loss="squared_error", batch_size=rows, beside_reader=True)
        room = step.room_for(rows)[1]
        assert not isinstance(room, GraphStep)
        assert room.products is expected


@pytest.mark.parametrize("beside_reader", [False, True])
def test_a_compiled_step_in_parts_has_one_blas_thread_for_each(
    beside_reader: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = pytest.importorskip("gpu_mlp.network.compiled", reason="Numba is not installed")
    monkeypatch.setattr(compiled, "blas_threads", lambda: 2)
    for sizes, rows, expected in (
        ((20, 64, 64, 2), 64, spread_products),  # one part, whose products BLAS does not spread
        ((20, 64, 64, 2), 200, one_blas_thread),
        ((784, 512, 512, 10), 100, one_blas_thread),
        ((784, 512, 512, 10), 40, spread_products),  # too few rows for two parts
    ):
        network = Network(sizes, device="cpu")
        step = TrainingStep(network, loss="squared_error", batch_size=rows, beside_reader=beside_reader)
        room = step.room_for(rows)[1]
        assert not isinstance(room, GraphStep)
        assert room.products is expected, (sizes, rows)
    tiny = TrainingStep(Network((2, 4, 3, 2), device="cpu"), loss="squared_error", batch_size=1000)
    room = tiny.room_for(1000)[1]
    assert not isinstance(room, GraphStep)
    assert room.products not in (one_blas_thread, spread_products)  # BLAS computes nothing


@pytest.mark.parametrize("with_numba", [True, False])
def test_an_epoch_has_the_bits_of_its_steps_one_by_one(
    with_numba: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the turn, and for how long."""
    if not with_numba:
        monkeypatch.setattr(numpy_compiled, "has_numba", lambda: False)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4100, 20)).astype(np.float32), rng.integers(0, 2, 4100)
    table, order = (x, y, None), np.arange(4100)
    networks = [Network((20, 64, 64, 2), seed=1, device="cpu") for _ in range(2)]
    epoch, single = (
        TrainingStep(network, loss="softmax_cross_entropy", batch_size=200) for network in networks
    )
    losses, told = np.empty(21, np.float32), []
    epoch.run_steps(table, order, [1e-3] * 21, losses, told.append)
    for at in range(21):
        loss = single(x[at * 200 : (at + 1) * 200], y[at * 200 : (at + 1) * 200])
        assert float(loss) == losses[at]
    assert networks[0].parameters.flat.tobytes() == networks[1].parameters.flat.tobytes()
    assert told[-1] == 21
    assert told == (sorted(told) if with_numba else list(range(1, 22)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_forked_within_a_limit_has_all_threads_again() -> None:
    """In a fresh process, since forking the tests' own is not safe."""
    code = """
import os
import numpy as np  # whose BLAS is meant
from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.blas_threads import blas_threads, one_blas_thread, spread_products
with one_blas_thread:
    child = os.fork()
    inside = blas_threads()
if child == 0:
    with spread_products:
        os._exit(10 * inside + blas_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), inside, blas_threads())
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["22", "1", "2"], done.stderr


def test_a_limit_around_the_training_is_honoured() -> None:
    network = Network((784, 512, 512, 10), device="cpu")
    with threadpool_limits(1):
        assert blas_threads() == 1
        assert threads_for(network, 2048) == 1
        with one_blas_thread:
            pass
        assert blas_threads() == 1
