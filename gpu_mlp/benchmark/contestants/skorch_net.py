"""skorch's estimators, on PyTorch: whole fits alone."""

from __future__ import annotations

from importlib.util import find_spec

from gpu_mlp.benchmark.cases import EPOCHS, Case, Data
from gpu_mlp.benchmark.contestants.base import Fit, UnableError, Work
from gpu_mlp.benchmark.contestants.pytorch import PyTorch, check_precision, module_of

__all__ = ["Skorch"]


class Skorch(PyTorch):
    """NeuralNetClassifier and NeuralNetRegressor."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "skorch"

    def missing(self) -> str:
        """Why it cannot take part."""
        return super().missing() if find_spec("skorch") is not None else "skorch is not installed"

    def set_up(self, case: Case, data: Data) -> Work:
        """The data alone: a net is made for each fit."""
        if case.task != "fit":
            raise UnableError("skorch is measured in whole fits; its steps are PyTorch's")
        check_precision(case)
        return _Fit(case, data)


class _Fit(Fit):
    def __init__(self, case: Case, data: Data) -> None:
        self._case, self._data = case, data

    def losses(self, *, shuffle: bool) -> list[float]:
        import skorch
        import torch

        regression = self._case.problem.is_regression
        kind = skorch.NeuralNetRegressor if regression else skorch.NeuralNetClassifier
        net = kind(
            module_of(self._case, self._data),
            criterion=torch.nn.MSELoss if regression else torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=self._case.problem.learning_rate,
            batch_size=self._case.batch,
            max_epochs=EPOCHS,
            iterator_train__shuffle=shuffle,
            train_split=None,
            verbose=0,
        )
        net.fit(self._data.x, self._data.y)
        return [float(loss) for loss in net.history[:, "train_loss"]]
