"""What a fit decides before it reads a table, and what follows from the target: the network, the task, the loss."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from gpu_mlp.backends.base import ROUNDED_PRECISIONS, Ops
from gpu_mlp.backends.select import device_ops
from gpu_mlp.config import (
    Loss,
    NetworkConfig,
    TrainingConfig,
    check_precision,
    check_range,
    check_type,
    to_tuple,
)
from gpu_mlp.data import Preparation, Target
from gpu_mlp.data.messages import quoted
from gpu_mlp.errors import ConfigError
from gpu_mlp.model import CLASSIFICATION_LOSSES

__all__ = ["FitChoices", "asked_task", "loss_of"]

HIDDEN = "a sequence of widths, such as (128, 64), or () for a linear model"


@dataclass(frozen=True, eq=False)
class FitChoices:
    """The arguments of `fit_table`, looked at before the table is read.

    Attributes:
        architecture: with 1 input and 1 output, until their numbers are known.
        task: "classification", "regression", or "auto" where neither the caller nor the loss says.
        reason: why, in a sentence.
    """

    target: str
    task: str
    reason: str
    architecture: NetworkConfig
    config: TrainingConfig
    validation: float
    test: float
    ignore: tuple[str, ...]
    ops: Ops

    @classmethod
    def of(
        cls,
        target: str,
        *,
        task: str,
        hidden_layer_sizes: Sequence[int],
        activation: str | Sequence[str],
        initializer: str,
        config: TrainingConfig | None,
        validation: float,
        test: float,
        ignore: Collection[str],
        seed: int | None,
        dtype: Literal["float32", "float64"],
        device: str,
    ) -> FitChoices:
        """Raises ConfigError for what cannot be, DeviceError for a device that is not there."""
        config = TrainingConfig() if config is None else config
        check_type("config", config, TrainingConfig, "a TrainingConfig, such as TrainingConfig(epochs=3)")
        ignored = to_tuple("ignore", ignore, "a sequence of columns' names, such as ['age']")
        hidden = to_tuple("hidden_layer_sizes", hidden_layer_sizes, HIDDEN)
        for width in hidden:
            check_range("a width of hidden_layer_sizes", width, low=1, whole=True)
        config = config if seed is None else replace(config, seed=seed)
        architecture = NetworkConfig(
            (1, *hidden, 1), cast(str | tuple[str, ...], activation), initializer, config.seed, dtype
        )
        check_precision(config.precision, dtype)
        ops = device_ops(device)
        if config.precision in ROUNDED_PRECISIONS:
            ops.in_precision(config.precision)  # or it is refused here, before the table is read
        if target in ignored:
            raise ConfigError(f"column {quoted(target)} is both the target and ignored; ignore other columns")
        chosen, reason = asked_task(task, config)
        return cls(target, chosen, reason, architecture, config, validation, test, ignored, ops)

    @property
    def standardise(self) -> bool:
        """Whether a regression's target is standardised: counts are taken as they are."""
        return self.config.loss != "poisson"

    def network(self, preparation: Preparation, target: Target, loss: Loss) -> NetworkConfig:
        """With its inputs and outputs."""
        one = loss.name == "binary_cross_entropy" or target.task == "regression"
        outputs = 1 if one else len(target.classes)
        hidden = self.architecture.layer_sizes[1:-1]
        return replace(self.architecture, layer_sizes=(len(preparation.output_names), *hidden, outputs))


def asked_task(task: str, config: TrainingConfig) -> tuple[str, str]:
    """The task that was asked for, or that is the loss's, and why in a sentence; else "auto"."""
    if task != "auto":
        return task, f"the task {task} was asked for"
    if config.loss != "auto":
        task = "classification" if config.loss in CLASSIFICATION_LOSSES else "regression"
        return task, f"the loss {config.loss} is one of {task}"
    return "auto", ""


def loss_of(config: TrainingConfig, target: Target) -> Loss:
    """The loss. Raises ConfigError where it does not fit the task."""
    loss = config.loss_settings(labels=target.task == "classification")
    if (loss.name in CLASSIFICATION_LOSSES) != (target.task == "classification"):
        fitting = "softmax_cross_entropy" if target.task == "classification" else "squared_error"
        raise ConfigError(
            f"the loss {loss.name} does not fit a {target.task}; "
            f"choose a loss such as {fitting}, or another task"
        )
    if loss.name == "binary_cross_entropy" and len(target.classes) != 2:
        raise ConfigError(
            f"binary_cross_entropy tells 2 classes apart, but column {quoted(target.name)} has "
            f"{len(target.classes)}; use softmax_cross_entropy"
        )
    return loss
