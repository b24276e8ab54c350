"""Who takes part: the name of a contestant, where it comes from, and how long it may take to be ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from gpu.problems import Problem
from gpu_mlp.backends.cuda_backend import TIMING_VARIABLE

__all__ = ["CONTESTANTS", "Contestant", "Entry", "entry_of"]


class Contestant(Protocol):
    """One library in one form, at one problem."""

    steps_a_call: int  # so many steps come at once

    def prepare(self) -> None:
        """Whatever is done once; afterwards the weights are the initial ones."""

    def losses(self, count: int) -> list[float]:
        """Of the next steps, the first ones after `prepare`; called once."""

    def run(self, steps: int) -> None:
        """About so many steps, whole calls of them, waited for."""


@dataclass(frozen=True)
class Entry:
    """A contestant's name, library, form, and the seconds it has to prepare for all problems together."""

    name: str
    library: str
    form: Literal["own", "plain", "eager", "other"]
    seconds: float
    make: Callable[[], Callable[[Problem, str], Contestant]]  # imports its library's file when called
    tunes: bool = False  # times its products while it gets ready

    @property
    def missing(self) -> str | None:
        """Why it cannot take part."""
        return None if find_spec(self.library) else f"{self.library} is not installed"


def _own(name: str) -> Callable[[], Any]:
    def make() -> Any:
        from gpu import own_steps

        return getattr(own_steps, name)

    return make


def _torch(name: str, *arguments: str) -> Callable[[], Any]:
    def make() -> Any:
        from gpu import torch_steps

        function = getattr(torch_steps, name)
        return function(*arguments) if arguments else function

    return make


def _jax(name: str) -> Callable[[], Any]:
    def make() -> Any:
        from gpu import jax_steps

        return getattr(jax_steps, name)

    return make


# gpu_mlp times its products where it is told to.
TIMES_PRODUCTS = os.environ.get(TIMING_VARIABLE) == "1"

# Those that compile long come last, where contestants are prepared one after the other.
CONTESTANTS = (
    Entry("gpu_mlp step", "gpu_mlp", "own", 90.0, _own("own_step"), TIMES_PRODUCTS),
    Entry("gpu_mlp run_steps", "gpu_mlp", "own", 90.0, _own("own_epoch"), TIMES_PRODUCTS),
    Entry("gpu_mlp plain", "gpu_mlp", "plain", 90.0, _own("own_plain"), TIMES_PRODUCTS),
    Entry("torch eager", "torch", "eager", 90.0, _torch("torch_eager")),
    Entry("torch eager fused", "torch", "eager", 90.0, _torch("torch_eager_fused")),
    Entry("torch graph", "torch", "other", 90.0, _torch("torch_graph")),
    Entry("jax jit", "jax", "other", 90.0, _jax("jax_jit"), tunes=True),
    Entry("jax scan", "jax", "other", 90.0, _jax("jax_scan"), tunes=True),
    Entry("torch reduce-overhead", "torch", "other", 90.0, _torch("torch_compiled", "reduce-overhead")),
    Entry(
        "torch max-autotune", "torch", "other", 100.0, _torch("torch_compiled", "max-autotune"), tunes=True
    ),
)


def entry_of(name: str) -> Entry:
    """The contestant of that name."""
    (entry,) = (each for each in CONTESTANTS if each.name == name)
    return entry
