"""`fit_table`: from a raw table to a trained and tested `Model`, in two steps: the plan, made here, and its run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import Preparation, Target, read_table, require_counts, split_rows
from gpu_mlp.fit_choices import FitChoices, loss_of
from gpu_mlp.fit_plan import FitPlan, FitResult
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.memory_budget import MemoryBudget
from gpu_mlp.streamed_plan import plan_streamed

__all__ = ["fit_table", "plan_fit"]


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
    memory: str | int | None = None,
    encoding: str | None = None,
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
        memory: how much there is for rows, such as "512MB": the table is then read once for all that must be known of
            it, and anew in each epoch, a thread ahead. Rows are shuffled a buffer at a time, each is held out by a
            random number of its own, and as many are held out as there is memory for. None: the table is read whole.
        encoding: of a CSV, as Python names it; None for UTF-8, or UTF-16 where the file begins with its mark.
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
        memory=memory,
        encoding=encoding,
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
    memory: str | int | None = None,
    encoding: str | None = None,
    report: Callable[[int], None] = lambda rows: None,
) -> FitPlan:
    """Everything `fit_table` does before training; the same arguments and errors.

    report hears of the rows read so far, where there is a budget of memory.
    """
    choices = FitChoices.of(
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
    if memory is not None:
        return plan_streamed(source, choices, MemoryBudget.parse(memory), encoding, report)
    return _plan_in_memory(source, choices, encoding)


def _plan_in_memory(source: Any, choices: FitChoices, encoding: str | None) -> FitPlan:
    """Read, split and prepare the whole table."""
    name, config, standardise = choices.target, choices.config, choices.standardise
    table = read_table(source, ignore=choices.ignore, encoding=encoding)
    task, reason = choices.task, choices.reason
    if task == "auto":
        task, reason = Target.infer_task(table, name)
    target = Target.fit(table, name, task, standardise=standardise)
    loss = loss_of(config, target)
    if loss.name == "poisson":
        require_counts(table, name)
    labels = target.encode(table) if target.task == "classification" else None
    split = split_rows(table.rows, labels, validation=choices.validation, test=choices.test, seed=config.seed)
    if labels is not None:
        target.require_every_class(labels[split.train])
    if target.task == "regression":
        target = Target.fit(table.select(split.train), name, task, standardise=standardise)
    features = [column for column in table.names if column != name]
    preparation = Preparation.fit(table, features, split.train)
    parts = {part: table.select(rows) for part, rows in asdict(split).items()}
    dtype = choices.architecture.dtype
    arrays = {
        part: (preparation.transform(rows, dtype, also_allowed=(name,)), target.encode(rows))
        for part, rows in parts.items()
        if rows.rows
    }
    return FitPlan(
        origin=table.origin,
        rows={part: rows.rows for part, rows in parts.items()},
        target=target,
        reason=reason,
        split=split,
        preparation=preparation,
        loss=loss,
        network_config=choices.network(preparation, target, loss),
        config=replace(config, loss=loss.name),
        arrays=arrays,
        ops=choices.ops,
        ignored=choices.ignore,
        mean_count=float(arrays["train"][1].mean()) if loss.name == "poisson" else 0.0,
    )
