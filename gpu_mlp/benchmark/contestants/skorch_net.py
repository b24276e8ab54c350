"""skorch's estimators, on PyTorch: whole fits alone."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.cases import EPOCHS, LEARNING_RATE, Case, Data
from gpu_mlp.benchmark.contestants.base import UnableError, Work
from gpu_mlp.benchmark.contestants.pytorch import module_of
from gpu_mlp.benchmark.limits import Ceilings
from gpu_mlp.telemetry.measures import Meter

__all__ = ["Skorch"]


class Skorch:
    """NeuralNetClassifier and NeuralNetRegressor."""

    name = "skorch"

    def missing(self) -> str:
        """Why it cannot take part."""
        for module, name in (("skorch", "skorch"), ("torch", "PyTorch")):
            if find_spec(module) is None:
                return f"{name} is not installed"
        return ""

    def set_threads(self, threads: int) -> None:
        """PyTorch's own pool."""
        import torch

        torch.set_num_threads(threads)

    def meters(self) -> list[Meter]:
        """None."""
        return []

    def ceilings(self, precisions: tuple[str, ...]) -> Ceilings | None:
        """It computes on the processor."""
        return None

    def set_up(self, case: Case, data: Data) -> Work:
        """The data alone: a net is made for each fit."""
        if case.task != "fit":
            raise UnableError("skorch is measured in whole fits; its steps are PyTorch's")
        return _Fit(case, data)


class _Fit:
    def __init__(self, case: Case, data: Data) -> None:
        self._case, self._data = case, data

    def run(self, count: int) -> None:
        for _ in range(count):
            self._fit(shuffle=True)

    def result(self) -> NDArray[Any]:
        return np.asarray(self._fit(shuffle=False))

    def _fit(self, *, shuffle: bool) -> list[float]:
        import skorch
        import torch

        regression = self._case.problem.is_regression
        kind = skorch.NeuralNetRegressor if regression else skorch.NeuralNetClassifier
        net = kind(
            module_of(self._case, self._data),
            criterion=torch.nn.MSELoss if regression else torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=LEARNING_RATE,
            batch_size=self._case.batch,
            max_epochs=EPOCHS,
            iterator_train__shuffle=shuffle,
            train_split=None,
            verbose=0,
        )
        net.fit(self._data.x, self._data.y)
        return [float(loss) for loss in net.history[:, "train_loss"]]
