"""`FitPlan`: a table, split and prepared, and the settings to train on it; its run gives a `FitResult`."""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.base import Ops
from gpu_mlp.config import Loss, NetworkConfig, TrainingConfig
from gpu_mlp.data import DrawnSplit, Preparation, Split, Target
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import History
from gpu_mlp.learning.row_source import RowSource
from gpu_mlp.learning.state import TrainingState
from gpu_mlp.learning.training import train
from gpu_mlp.model import Model, link
from gpu_mlp.network.network import Network

__all__ = ["FitPlan", "FitResult"]

SMALLEST_RATE = 1e-6


@dataclass(frozen=True, eq=False)
class FitResult:
    """A trained model and how it came about.

    Attributes:
        model: with the best epoch's weights where `config.patience` was set, else the last one's.
        history: every epoch.
        split: which rows of the table trained, validated and tested; by one random number a row where the table was
            read some rows at a time.
        training_metrics, validation_metrics, test_metrics: `Model.evaluate` of these rows, or of as many training rows
            as were kept in memory; empty where there are none.
    """

    model: Model
    history: History
    split: Split | DrawnSplit
    training_metrics: dict[str, float]
    validation_metrics: dict[str, float]
    test_metrics: dict[str, float]


@dataclass(frozen=True, eq=False)
class FitPlan:
    """Everything decided before the first step; `run` trains.

    Attributes:
        origin: what messages call the table.
        rows: how many of its rows 'train', for 'validation' and for 'test'.
        reason: why the task is what it is, in a sentence.
        arrays: 'train', 'validation' and 'test' -> features (N, D), and labels (N,) or standardised values
            (N, 1); prepared, and so refused, before anything is trained.
        source: the training rows where they are read while they are trained on; arrays['train'] are some of them.
        mean_count: of the training rows, where the loss is poisson.
        memory: what a budget of memory is used for, in a sentence; empty where there is none.
        ignored: columns that are never read.
    """

    origin: str
    rows: Mapping[str, int]
    target: Target
    reason: str
    split: Split | DrawnSplit
    preparation: Preparation
    loss: Loss
    network_config: NetworkConfig
    config: TrainingConfig
    arrays: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
    ops: Ops
    ignored: tuple[str, ...]
    mean_count: float
    source: RowSource | None = None
    memory: str = ""

    @property
    def metric_name(self) -> str:
        """What validation is measured by besides the loss: 'accuracy' or 'RMSE'."""
        return "accuracy" if self.target.task == "classification" else "RMSE"

    def run(self, callbacks: Sequence[Callback] = (), *, resume: TrainingState | None = None) -> FitResult:
        """Train, from where `resume` stood, and evaluate the three parts.

        Raises DivergenceError where the loss stops being finite.
        """
        network = Network.from_config(self.network_config, self.ops.device)
        model = Model(network, self.loss, self.target, self.preparation, self.ignored)
        x, y = self.arrays["train"] if self.source is None else (self.source, None)
        # Start from the mean count: the rate is exp(f), and counts may be large.
        if self.loss.name == "poisson":
            network.biases[-1][...] = math.log(max(self.mean_count, SMALLEST_RATE))
        history = train(
            network,
            x,
            y,
            self.config,
            validation=self.arrays.get("validation"),
            callbacks=callbacks,
            metric=self._rmse() if self.target.task == "regression" else None,
            resume=resume,
        )
        metrics = {
            name: model.measure(*self.arrays[name]) if name in self.arrays else {}
            for name in ("train", "validation", "test")
        }
        model.metadata.update(self._summary(history, metrics))
        return FitResult(model, history, self.split, metrics["train"], metrics["validation"], metrics["test"])

    def _rmse(self) -> Callable[[NDArray[Any], NDArray[Any]], float]:
        """The root mean squared error in the target's own units."""
        loss, scale = self.loss, self.target.scale

        def rmse(outputs: NDArray[Any], values: NDArray[Any]) -> float:
            return scale * float(np.sqrt(np.mean(np.square(link(loss, outputs) - values))))

        return rmse

    def _summary(self, history: History, metrics: dict[str, dict[str, float]]) -> dict[str, Any]:
        """What the model remembers of its training: plain data, no path and no machine's name."""
        from gpu_mlp import __version__

        return {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": {
                "gpu_mlp": __version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "table": self.origin,
            "task": self.target.task,
            "rows": dict(self.rows),
            "epochs": len(history),
            "best_epoch": history.best_epoch,
            "stopped": history.stopped,
            "metrics": {
                name: {key: value if math.isfinite(value) else None for key, value in part.items()}
                for name, part in metrics.items()
            },
            "seed": self.config.seed,
            "config": asdict(self.config),
            "backend": self.ops.name,
        }
