"""The stage `profile`: whether captured steps wait for the device or allocate, give the same bits twice, and what
takes their time."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

from gpu.notes import Notes
from gpu.own_steps import OwnEpoch, OwnSteps
from gpu.precisions import PRECISIONS
from gpu.problems import PROBLEMS, Precision, Problem

__all__ = ["bits_of_a_training", "measure", "same_bits"]

# Of captured steps; fp16 has launches of its own for the loss's scale.
WATCHED: Sequence[Precision] = ("float32", "bf16", "fp16")
STEPS = 100
# Seconds: less time than this is not worth a begin.
SHORTEST = 3.0
BUSY_SECONDS = 0.3
# Python's names of what waits for the device or takes memory from it.
WAITING = ("deviceSynchronize", "streamSynchronize", "eventSynchronize", "memcpy", "memset")
ALLOCATING = ("malloc", "mallocAsync", "hostAlloc", "mallocManaged")
# What a profiler calls the calls of the driver and the runtime that wait or allocate.
WAITS = ("Synchronize", "cudaMemcpy")
ALLOCATES = ("cudaMalloc", "cuMemAlloc", "cudaHostAlloc", "cuMemCreate")

SPIN = r"""
extern "C" __global__ void spin(long long nanoseconds) {
  unsigned long long now, start;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
  do { asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)); } while (now - start < nanoseconds);
}
"""


def measure(notes: Notes) -> None:
    """On device 0, of the first problem in every precision, by single steps and by epochs."""
    import cupy

    for precision in WATCHED:
        for name, make in (("step", OwnSteps), ("run_steps", OwnEpoch)):
            watch(notes, cupy, f"{name} {precision}", make, replace(PROBLEMS[0], precision=precision))
    for precision, dropout in product(PRECISIONS, (0.0, 0.2)):
        what = f"bits in {precision}, dropout {dropout}"
        if notes.budget.left() < SHORTEST:
            notes.append("skipped", f"{what}: no time left")
            continue
        with notes.failures(what):
            problem = replace(PROBLEMS[0], precision=precision)
            found = {"precision": precision, "dropout": dropout, **same_bits(problem, "cuda", dropout)}
            notes.append("bits", found)
            notes.say(f"bits: {found}")


def watch(
    notes: Notes, cupy: Any, name: str, make: Callable[[Problem, str], OwnSteps], problem: Problem
) -> None:
    """One form of captured steps in one precision: what it waits for, what it allocates, what takes its time."""
    if notes.budget.left() < SHORTEST:
        notes.append("skipped", f"{name}: no time left")
        return
    found: dict[str, Any] = {"problem": problem.name}
    with notes.failures(f"{name}: preparing"):
        own = make(problem, "cuda")
        own.prepare()
        for what, count in (
            ("memory", memory_of),
            ("python", calls_of),
            ("ahead", ahead_of),
            ("driver", driver_calls_of),
        ):
            with notes.failures(f"{name}: {what}"):
                found[what] = count(cupy, own)
                notes.put(name, found)
                notes.say(f"{name}: {what}: {str(found[what])[:400]}")


def memory_of(cupy: Any, own: OwnSteps) -> dict[str, int]:
    """What CuPy's memory pool was asked for, and what it asked the device for, during the steps."""
    seen: Counter[str] = Counter(asked_of_the_pool=0, asked_of_the_device=0, bytes_of_the_device=0)

    class Hook(cupy.cuda.memory_hook.MemoryHook):  # type: ignore[misc]
        name = "gpu_mlp"

        def malloc_preprocess(self, **what: Any) -> None:
            seen["asked_of_the_pool"] += 1

        def alloc_preprocess(self, **what: Any) -> None:
            seen["asked_of_the_device"] += 1
            seen["bytes_of_the_device"] += what["mem_size"]

    with Hook():
        _launch(own)
    own.network.ops.synchronize()
    return dict(seen)


def _launch(own: OwnSteps, steps: int = STEPS) -> None:
    """So many steps, or the epochs that hold them, without waiting."""
    silent = replace(own.network.ops, synchronize=lambda: None)
    kept, own.network.ops = own.network.ops, silent
    try:
        own.run(steps)
    finally:
        own.network.ops = kept


@contextmanager
def _counted(runtime: Any, names: tuple[str, ...], seen: Counter[str]) -> Iterator[None]:
    """Inside, the functions of these names count their calls from Python."""

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            seen[name] += 1
            return function(*arguments, **named)

        return call

    kept = {name: getattr(runtime, name) for name in names if hasattr(runtime, name)}
    for name, function in kept.items():
        setattr(runtime, name, counting(name, function))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(runtime, name, function)


def calls_of(cupy: Any, own: OwnSteps) -> dict[str, int]:
    """Calls from Python of the runtime's functions that wait or allocate; those inside of CuPy are not seen."""
    seen: Counter[str] = Counter()
    with _counted(cupy.cuda.runtime, WAITING + ALLOCATING, seen):
        _launch(own)
    own.network.ops.synchronize()
    return dict(seen)


def ahead_of(cupy: Any, own: OwnSteps) -> dict[str, Any]:
    """Whether the host submits steps while the device is busy with something before them, and so waits for nothing.

    Fewer steps beside all of them, since the driver itself waits where very many launches are pending.
    """
    import numpy as np

    spin = cupy.RawKernel(SPIN, "spin")
    spin((1,), (1,), (np.int64(1000),))
    cupy.cuda.Device().synchronize()
    found: dict[str, Any] = {"device_busy_seconds": BUSY_SECONDS}
    for steps in (STEPS // 5, STEPS):
        started = time.perf_counter()
        spin((1,), (1,), (np.int64(BUSY_SECONDS * 1e9),))
        end = cupy.cuda.Event(disable_timing=True)
        end.record()
        _launch(own, steps)
        submitted = time.perf_counter() - started
        found[f"{steps} steps"] = {"waited": bool(end.done), "submitted_seconds": submitted}
        cupy.cuda.Device().synchronize()
    return found


def driver_calls_of(cupy: Any, own: OwnSteps) -> dict[str, Any]:
    """The calls of the runtime and the driver, and the kernels with the most time, as PyTorch's profiler sees them."""
    try:
        from torch.profiler import ProfilerActivity, profile
    except ImportError:
        return {"not_counted": "torch is not installed, whose profiler would count them"}
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        _launch(own)
        own.network.ops.synchronize()
    calls: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    for event in seen.events():
        if "CUDA" in str(event.device_type):
            kernels[event.name] += event.time_range.elapsed_us()
        elif event.name.startswith("cu"):
            calls[event.name] += 1
    return {
        "calls": dict(calls),
        "waits": sum(n for name, n in calls.items() if any(each in name for each in WAITS)),
        "waits_by_us": "one synchronization ends the profile",
        "allocations": sum(n for name, n in calls.items() if name.startswith(ALLOCATES)),
        "kernel_us": {name[:90]: round(us, 1) for name, us in kernels.most_common(12)},
    }


def bits_of_a_training(problem: Problem, device: str, dropout: float) -> str:
    """A fingerprint of the parameters and losses of a short training with the same seed."""
    import gpu_mlp

    network = problem.network(device)
    x, y = problem.data()
    batch_size = max(1, problem.batch // 8)
    config = gpu_mlp.TrainingConfig(
        8, batch_size, problem.loss, dropout=dropout, seed=3, precision=problem.precision
    )
    history = gpu_mlp.train(network, x, y, config)
    bits = network.ops.to_host(network.parameters.flat).tobytes() + str(list(history.losses)).encode()
    return hashlib.sha256(bits).hexdigest()


def same_bits(problem: Problem, device: str, dropout: float) -> dict[str, Any]:
    """Whether two trainings give the same bits."""
    first, second = (bits_of_a_training(problem, device, dropout) for _ in range(2))
    return {"same": first == second, "fingerprints": [first[:16], second[:16]]}
