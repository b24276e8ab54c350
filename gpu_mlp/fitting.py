"""`fit_table`: from a raw table to a trained and tested `Model`, in two steps: the plan, made here, and its run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal, cast

from gpu_mlp.backends.base import ROUNDED_PRECISIONS
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
from gpu_mlp.data import Preparation, Table, Target, read_table, require_counts, split_rows
from gpu_mlp.data.messages import quoted
from gpu_mlp.errors import ConfigError
from gpu_mlp.fit_plan import FitPlan, FitResult
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.model import CLASSIFICATION_LOSSES

__all__ = ["fit_table", "plan_fit"]

HIDDEN = "a sequence of widths, such as (128, 64), or () for a linear model"


def fit_table(
    source: Any,
    target: str,
    *,
    task: str = "auto",
    hidden_layer_sizes: Sequence[int] = (128, 64),
    activation: str | Sequence[str] = "relu",
    initializer: str = "auto",
    config: TrainingConfig | None = None,
    validation: float = 0.15,
    test: float = 0.15,
    ignore: Collection[str] = (),
    seed: int | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """Read a table, choose the task, split its rows, learn the preparation from the training rows, train
    and test.

    Args:
        source: what `gpu_mlp.data.read_table` takes: a CSV or Parquet path, a DataFrame, a mapping of
            columns, an array.
        target: the column to predict.
        task: "classification", "regression", or "auto" for what the loss or else the column says.
        hidden_layer_sizes: widths of the hidden layers; () for a linear model.
        activation: one name, or one for each hidden layer.
        initializer: see `gpu_mlp.config.INITIALIZER_NAMES`.
        config: how to train; the defaults of `TrainingConfig` where None. Its loss "auto" is
            softmax_cross_entropy for a classification and squared_error for a regression. A regression's
            target is standardised by the training rows, so that `huber_delta` and every loss are in
            standard deviations; only poisson takes the counts as they are. binary_cross_entropy takes two
            classes, with one output.
        validation, test: shares of the rows that are held out, each at least 0.
        ignore: columns never read, here or at prediction.
        seed: of the split, the initial weights, the order of the rows and dropout; `config.seed` where None.
        dtype: "float32" or "float64".
        device: "auto", "cpu", "cuda" or "cuda:N".
        callbacks: told of progress and epochs.

    Raises DataError for a table that cannot be used, ConfigError for a setting that is unknown or does not
    fit, DeviceError and DivergenceError.
    """
    plan = plan_fit(
        source,
        target,
        task=task,
        hidden_layer_sizes=hidden_layer_sizes,
        activation=activation,
        initializer=initializer,
        config=config,
        validation=validation,
        test=test,
        ignore=ignore,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    return plan.run(callbacks)


def plan_fit(
    source: Any,
    target: str,
    *,
    task: str = "auto",
    hidden_layer_sizes: Sequence[int] = (128, 64),
    activation: str | Sequence[str] = "relu",
    initializer: str = "auto",
    config: TrainingConfig | None = None,
    validation: float = 0.15,
    test: float = 0.15,
    ignore: Collection[str] = (),
    seed: int | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    device: str = "auto",
) -> FitPlan:
    """Everything `fit_table` does before training; the same arguments and errors."""
    config = TrainingConfig() if config is None else config
    check_type("config", config, TrainingConfig, "a TrainingConfig, such as TrainingConfig(epochs=3)")
    ignore = to_tuple("ignore", ignore, "a sequence of columns' names, such as ['age']")
    hidden = to_tuple("hidden_layer_sizes", hidden_layer_sizes, HIDDEN)
    for width in hidden:
        check_range("a width of hidden_layer_sizes", width, low=1, whole=True)
    config = config if seed is None else replace(config, seed=seed)
    architecture = NetworkConfig(
        # The number of inputs and outputs is not known yet; what can be refused before the table is read, is.
        (1, *hidden, 1),
        cast(str | tuple[str, ...], activation),
        initializer,
        config.seed,
        dtype,
    )
    check_precision(config.precision, dtype)
    ops = device_ops(device)
    if config.precision in ROUNDED_PRECISIONS:
        ops.in_precision(config.precision)  # or it is refused here, before the table is read
    if target in ignore:
        raise ConfigError(f"column {quoted(target)} is both the target and ignored; ignore other columns")
    table = read_table(source, ignore=ignore)
    choice, reason = _choose_task(table, target, task, config)
    goal = Target.fit(table, target, choice, standardise=config.loss != "poisson")
    loss = _loss(config, goal, table)
    labels = goal.encode(table) if goal.task == "classification" else None
    split = split_rows(table.rows, labels, validation=validation, test=test, seed=config.seed)
    if labels is not None:
        goal.require_every_class(labels[split.train])
    if goal.task == "regression":
        goal = Target.fit(table.select(split.train), target, choice, standardise=config.loss != "poisson")
    preparation = Preparation.fit(table, [name for name in table.names if name != target], split.train)
    parts = {name: table.select(rows) for name, rows in asdict(split).items()}
    arrays = {
        name: (preparation.transform(part, dtype, also_allowed=(target,)), goal.encode(part))
        for name, part in parts.items()
        if part.rows
    }
    binary = loss.name == "binary_cross_entropy"
    outputs = 1 if binary or goal.task == "regression" else len(goal.classes)
    sizes = (len(preparation.output_names), *architecture.layer_sizes[1:-1], outputs)
    return FitPlan(
        table=table,
        target=goal,
        reason=reason,
        split=split,
        preparation=preparation,
        loss=loss,
        network_config=replace(architecture, layer_sizes=sizes),
        config=replace(config, loss=loss.name),
        arrays=arrays,
        ops=ops,
        ignored=ignore,
    )


def _choose_task(table: Table, target: str, task: str, config: TrainingConfig) -> tuple[str, str]:
    """The task, and why in a sentence."""
    if task != "auto":
        return task, f"the task {task} was asked for"
    if config.loss != "auto":
        task = "classification" if config.loss in CLASSIFICATION_LOSSES else "regression"
        return task, f"the loss {config.loss} is one of {task}"
    return Target.infer_task(table, target)


def _loss(config: TrainingConfig, target: Target, table: Table) -> Loss:
    """The loss. Raises ConfigError where it does not fit the task, DataError for what are no counts."""
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
    if loss.name == "poisson":
        require_counts(table, target.name)
    return loss
