"""A piece of work of the GPU that is timed, and the fewest bytes it must move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpu_mlp.backends.base import Array, Ops

__all__ = ["Case", "held", "moved_bytes"]


@dataclass(frozen=True)
class Case:
    """Work to be timed: the kernels it launches, the bytes read and written at least, and products' operations."""

    name: str
    kernels: tuple[str, ...]
    work: Callable[[], None]
    bytes: int
    flops: int = 0


def moved_bytes(*arrays: Array) -> int:
    """Of every array once; an array that is read and written stands twice in the list."""
    return sum(array.nbytes for array in arrays)


def held(ops: Ops, work: Callable[[], None]) -> Callable[[], None]:
    """Without the tiny launch that sets the clock before each kernel that reads it."""

    def run() -> None:
        assert ops.graphs is not None
        with ops.graphs.held_clock():
            work()

    return run
