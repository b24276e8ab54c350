"""PyTorch on the CPU, as its users write a step: eager, or compiled by torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gpu_mlp
from gpu_mlp.benchmark.cases import EPOCHS, Case, Data
from gpu_mlp.benchmark.contestants.base import Fit, Peer, UnableError, Work
from gpu_mlp.benchmark.contestants.own import network_of

__all__ = ["PyTorch"]


class PyTorch(Peer):
    """compiled: whether the step goes through torch.compile."""

    def __init__(self, *, compiled: bool = False) -> None:
        self._compiled = compiled
        self.name = "torch.compile" if compiled else "torch"

    def missing(self) -> str:
        """Why it cannot take part."""
        return "" if find_spec("torch") is not None else "PyTorch is not installed"

    def set_threads(self, threads: int) -> None:
        """Of its own pool."""
        import torch

        torch.set_num_threads(threads)

    def set_up(self, case: Case, data: Data) -> Work:
        """A `Sequential` with the data's weights, and its Adam."""
        import torch

        check_precision(case)
        if case.task == "fit":
            return _Fit(case, data, compiled=self._compiled)
        module = module_of(case, data)
        x = torch.from_numpy(data.x)
        run: Callable[[], Any]
        if case.task == "inference":
            forward = torch.compile(module) if self._compiled else module

            def run() -> Any:
                with torch.inference_mode():
                    return forward(x)
        else:
            step = _step(module, case, compiled=self._compiled)
            y = torch.from_numpy(data.y)

            def run() -> Any:
                return step(x, y)

        return _Work(run)


def check_precision(case: Case) -> None:
    """Raise UnableError for one that no step was written in."""
    if case.precision not in ("float32", "float64"):
        raise UnableError(f"the step in {case.precision} is not written for PyTorch on the CPU")


def module_of(case: Case, data: Data) -> Any:
    """A `Sequential` with the data's weights."""
    return gpu_mlp.to_torch(network_of(case, data, "cpu"))


def _step(module: Any, case: Case, *, compiled: bool) -> Callable[[Any, Any], Any]:
    import torch

    optimizer = torch.optim.Adam(module.parameters(), case.problem.learning_rate)
    loss_of = torch.nn.MSELoss() if case.problem.is_regression else torch.nn.CrossEntropyLoss()

    def forward(x: Any, y: Any) -> Any:
        return loss_of(module(x), y)

    loss_now = torch.compile(forward) if compiled else forward

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_now(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


class _Work:
    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._last: Any = None

    def run(self, count: int) -> None:
        for _ in range(count):
            self._last = self._run()

    def result(self) -> NDArray[Any]:
        return np.asarray(self._last)


class _Fit(Fit):
    """The loop as its users write it, over slices of a shuffled tensor."""

    def __init__(self, case: Case, data: Data, *, compiled: bool) -> None:
        import torch

        self._case, self._data, self._compiled = case, data, compiled
        self._x, self._y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    def losses(self, *, shuffle: bool) -> list[float]:
        import torch

        step = _step(module_of(self._case, self._data), self._case, compiled=self._compiled)
        rows, batch, losses = len(self._x), self._case.batch, []
        for _ in range(EPOCHS):
            x, y, total = self._x, self._y, torch.zeros(())
            if shuffle:
                order = torch.randperm(rows)
                x, y = x[order], y[order]
            for start in range(0, rows, batch):
                total += step(x[start : start + batch], y[start : start + batch])
            losses.append(float(total) * batch / rows)
        return losses
