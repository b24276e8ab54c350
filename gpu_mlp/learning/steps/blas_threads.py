"""How many threads BLAS gives a product on the CPU: all it has, or one where a step brings threads of its own.

BLAS has one number of threads for the whole process, and the last bits of a product depend on it. So where several
Python threads train, those whose products BLAS spreads run together, and one that limits it runs alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Condition, Lock
from typing import Any

__all__ = ["blas_threads", "one_blas_thread", "spread_products"]


@cache
def _blas() -> Any:
    """The loaded BLAS libraries, whose threads can be counted and set."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


class _Guard:
    """Who computes now: any number of users of `spread_products`, or one of `one_blas_thread`."""

    def __init__(self) -> None:
        self.turn = Lock()  # held by a limit, and for a moment by whoever begins to spread products
        self.ended = Condition()
        self.spreading = 0


_guard = _Guard()


class _SpreadProducts:
    """A context, and one object for all of them: every step enters it."""

    def __enter__(self) -> None:
        with _guard.turn, _guard.ended:
            _guard.spreading += 1

    def __exit__(self, *exception: object) -> None:
        with _guard.ended:
            _guard.spreading -= 1
            _guard.ended.notify()


# Products in this context have all threads of BLAS. Its Python thread must not ask for `one_blas_thread` meanwhile.
spread_products = _SpreadProducts()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products of all Python threads have one BLAS thread; afterwards BLAS has as many as before."""
    with _guard.turn:
        with _guard.ended:
            _guard.ended.wait_for(lambda: _guard.spreading == 0)
        with _blas().limit(limits=1):
            yield


def blas_threads() -> int:
    """How many threads NumPy's products use outside `one_blas_thread`; 1 where that cannot be told."""
    with spread_products:
        return max((info["num_threads"] for info in _blas().info()), default=1)


def _begin_anew() -> None:
    """In a forked process, where other Python threads that held the guard are gone."""
    global _guard
    _guard = _Guard()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
