"""Python threads that train at once: each gets the bits it would get alone, and BLAS keeps its threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from gpu_mlp.learning.steps.blas_threads import blas_threads, one_blas_thread, spread_products
from gpu_mlp.learning.steps.threaded import threads_for
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
    with one_blas_thread():
        thread = in_thread(lambda: counted.append(blas_threads()))
        thread.join(0.05)
        assert counted == []  # it waits
    thread.join(10)
    assert counted == [before]


def test_limits_take_turns_and_wait_for_products_that_are_spread() -> None:
    inside: list[str] = []
    most = {"limited": 0, "both": 0}

    def limited() -> None:
        for _ in range(50):
            with one_blas_thread():
                inside.append("limited")
                look()
                inside.remove("limited")

    def spread() -> None:
        for _ in range(50):
            with spread_products:
                inside.append("spread")
                look()
                inside.remove("spread")

    def look() -> None:
        now = inside.copy()
        most["limited"] = max(most["limited"], now.count("limited"))
        most["both"] = max(most["both"], min(now.count("limited"), now.count("spread")))

    before = blas_threads()
    threads = [in_thread(work) for work in (limited, limited, spread, spread)]
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert most["limited"] == 1
    assert most["both"] == 0
    assert blas_threads() == before


def test_a_limit_around_the_training_is_honoured() -> None:
    network = Network((784, 512, 512, 10), device="cpu")
    with threadpool_limits(1):
        assert blas_threads() == 1
        assert threads_for(network, 2048) == 1
        with one_blas_thread():
            pass
        assert blas_threads() == 1
