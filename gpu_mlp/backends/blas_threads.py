"""How many threads BLAS gives a product on the CPU: all it has, or one where they cost more than they bring.

BLAS has one number of threads for the whole process, and the last bits of a product depend on it. So where several
Python threads train, those whose products BLAS spreads run together, those with one thread run together, and the two
kinds take turns.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from threading import Condition, Lock, local
from typing import Any

import numpy as np

__all__ = [
    "blas_threads",
    "limit_own_thread",
    "numpys_blas",
    "one_blas_thread",
    "products_of",
    "spread_products",
]

# Multiplications: a product of fewer is not spread by OpenBLAS, and a step of more gains by spreading (measured with
# two threads; between the two, waking the threads takes longer than they save).
FEWEST_OF_PRODUCT = 1 << 18
FEWEST_OF_STEP = 1 << 23
# Beside a thread that reads the rows, which waits for a processor while BLAS's threads wait for work on it: up to here
# the second thread brings at most a sixth in any case (measured with two processors).
FEWEST_BESIDE_READER = 1 << 26


class _Library:
    """A loaded BLAS whose threads can be counted and set.

    OpenBLAS's own functions are called where they are found: threadpoolctl looks them up, and who may call them, each
    time, which takes a tenth of a small step.
    """

    def __init__(self, controller: Any) -> None:
        # An OpenBLAS on OpenMP has a number of threads for each Python thread.
        self.counts_by_python_thread = getattr(controller, "threading_layer", "") == "openmp"
        self._controller = controller
        find = getattr(controller, "_get_symbol", lambda name: None)
        is_plain = controller.internal_api == "openblas" and not self.counts_by_python_thread
        self._count, self._set = (
            find(f"openblas_{name}_num_threads") if is_plain else None for name in ("get", "set")
        )

    @property
    def threads(self) -> int:
        """How many a product has."""
        return int(self._controller.num_threads if self._count is None else self._count())

    def set_threads(self, threads: int) -> None:
        """For all Python threads, or this one where it counts by them."""
        if self._set is not None:
            self._set(threads)
            return
        self._controller.set_num_threads(threads)
        # From 3.8 on threadpoolctl lets only one Python thread set what holds for all, until that gives it up.
        if hasattr(self._controller, "clear_controlling_thread"):
            self._controller.clear_controlling_thread()


def numpys_blas(paths: Iterable[str]) -> str | None:
    """Which of the loaded libraries came with NumPy; None where it has none of its own."""
    home = Path(np.__file__).parent
    own = (path for path in paths if home in Path(path).parents or Path(path).parent.name == "numpy.libs")
    return next(own, None)


@cache
def _libraries() -> list[_Library]:
    """NumPy's, or all where it has none of its own: SciPy's wheels bring another, which computes nothing here."""
    from threadpoolctl import ThreadpoolController

    controllers = ThreadpoolController().select(user_api="blas").lib_controllers
    own = numpys_blas(controller.filepath for controller in controllers)
    return [_Library(each) for each in controllers if own is None or each.filepath == own]


def limit_own_thread() -> None:
    """For good, in a Python thread that computes nothing but parts of a step."""
    for library in _libraries():
        if library.counts_by_python_thread:
            library.set_threads(1)


class _Turns:
    """Who computes now: any number of Python threads of one kind, whose products are all spread or all are not."""

    def __init__(self) -> None:
        self.mine = local()  # how many contexts the Python thread is in, and the threads of libraries before
        self.turn = Lock()  # held by whoever begins: for a moment, or until the other kind has ended
        self.ended = Condition()
        self.computing, self.is_limited = 0, False
        self.limited: dict[_Library, int] = {}  # the threads that a library had, while each has one for all

    def begin(self, limit: bool) -> None:
        """Once nobody of the other kind computes."""
        with self.turn, self.ended:
            while self.computing > 0 and limit != self.is_limited:
                self.ended.wait()
            self.is_limited = limit
            self.mine.limited = {}
            for library in _libraries() if limit else ():
                limited = self.mine.limited if library.counts_by_python_thread else self.limited
                if library not in limited:
                    limited[library] = library.threads
                    library.set_threads(1)
            self.computing += 1

    def end(self) -> None:
        """The last one leaves the libraries as they were."""
        with self.ended:
            self.computing -= 1
            if self.is_limited:
                _restore(self.mine.limited)
            if self.computing == 0:
                _restore(self.limited)
                self.ended.notify()


def _restore(limited: dict[_Library, int]) -> None:
    """Give every library the threads it had."""
    for library, threads in limited.items():
        library.set_threads(threads)
    limited.clear()


_turns = _Turns()


class _Turn:
    """A context, and one object for all who enter it. Within a context another one changes nothing."""

    def __init__(self, *, limited: bool) -> None:
        self._limited = limited

    def __enter__(self) -> None:
        mine = _turns.mine
        depth: int = getattr(mine, "depth", 0)
        if depth == 0:
            _turns.begin(self._limited)
        mine.depth = depth + 1

    def __exit__(self, *exception: object) -> None:
        mine = _turns.mine
        depth: int = getattr(mine, "depth", 0)  # 0 in a process that was forked within the context
        if depth == 1:
            _turns.end()
        mine.depth = max(depth - 1, 0)


# Products in this context have all threads of BLAS.
spread_products = _Turn(limited=False)
# Products of all Python threads have one thread of BLAS; afterwards it has as many as before.
one_blas_thread = _Turn(limited=True)


def products_of(largest: int, step: int, *, beside_reader: bool = False) -> AbstractContextManager[None]:
    """The faster context of a step or a prediction by its multiplications: of its largest product, and all together.

    beside_reader: whether another thread reads the rows meanwhile.
    """
    most = FEWEST_BESIDE_READER if beside_reader else FEWEST_OF_STEP
    return one_blas_thread if largest > FEWEST_OF_PRODUCT and step <= most else spread_products


def blas_threads() -> int:
    """How many threads NumPy's products use outside `one_blas_thread`; 1 where that cannot be told."""
    with spread_products:
        return max((library.threads for library in _libraries()), default=1)


def _begin_anew() -> None:
    """In a forked process, where other Python threads that had their turn are gone."""
    global _turns
    _restore(_turns.limited)
    _turns = _Turns()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
