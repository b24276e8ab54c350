"""Threads that share one computation on the CPU: the pool, and how work is cut for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from typing import Any

from gpu_mlp.backends.blas_threads import limit_own_thread

__all__ = ["edges_of", "processors", "together"]


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="gpu_mlp", initializer=limit_own_thread)


# A forked process has the pool but not its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def edges_of(size: int, parts: int, multiple: int) -> list[tuple[int, int]]:
    """Start and stop of `parts` pieces of 0..size of nearly the same size, cut at multiples."""
    cuts = [round(size * i / parts / multiple) * multiple for i in range(parts)]
    return list(zip(cuts, [*cuts[1:], size], strict=True))


def together(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Call `work` with each of the arguments, the first in this thread and the others in the pool's.

    NumPy keeps by context what it does about overflow and how large its buffers are: each call gets a copy of ours.
    """
    first, *others = arguments
    pool = _pool(len(others))
    running = [pool.submit(copy_context().run, work, *each) for each in others]
    try:
        copy_context().run(work, *first)
    finally:
        wait(running)  # before any memory is used again
    for future in running:
        future.result()
