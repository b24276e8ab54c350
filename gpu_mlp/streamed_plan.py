"""The plan of a fit whose table is read some rows at a time, within a budget of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data import DrawnSplit, Preparation, Target, open_source
from gpu_mlp.data.drawn_split import SAMPLE, TEST, VALIDATION
from gpu_mlp.data.messages import shown_path
from gpu_mlp.data.prepared_rows import PreparedRows
from gpu_mlp.data.splits import check_fractions
from gpu_mlp.data.survey import Survey, survey
from gpu_mlp.errors import DataError
from gpu_mlp.fit_choices import FitChoices, loss_of
from gpu_mlp.fit_plan import FitPlan
from gpu_mlp.memory_budget import MemoryBudget

__all__ = ["plan_streamed"]

HELD_OUT = {"validation": VALIDATION, "test": TEST}


def plan_streamed(
    source: Any,
    choices: FitChoices,
    budget: MemoryBudget,
    encoding: str | None,
    report: Callable[[int], None],
) -> FitPlan:
    """Survey the source, prepare the rows that are kept, and size the buffers; report hears of the rows read.

    The rows of the held-out parts are kept in memory, so they are at most what the budget has room for; all others
    train. Raises DataError and ConfigError.
    """
    check_fractions(choices.validation, choices.test)
    config, dtype = choices.config, choices.architecture.dtype
    table = open_source(source, ignore=choices.ignore, encoding=encoding)
    budget.check_held(table.bytes_held, shown_path(table.origin))
    all_rows = max(table.rows_at_most, 1)
    split = DrawnSplit(config.seed, choices.validation, choices.test)
    split = split.at_most(budget.kept_rows(8 * len(table.names)) / all_rows)
    counts = config.loss == "poisson"
    found = survey(table, choices.target, split, task=choices.task, counts=counts, report=report)
    task, reason = (choices.task, choices.reason) if choices.task != "auto" else found.choose_task()
    target = found.target.target(found.shown_origin, task, standardise=choices.standardise)
    loss = loss_of(config, target)
    preparation = found.preparation()
    row_bytes = len(preparation.output_names) * np.dtype(dtype).itemsize + 8
    # A text column may have become a thousand; rows that are not kept after all train.
    split = found.split.at_most(budget.kept_rows(row_bytes) / found.rows)
    arrays = _arrays(found, split, preparation, target, dtype)
    buffer_rows = config.buffer_rows or budget.buffer_rows(row_bytes, config.batch_size)
    rows = {"train": found.rows, **{name: len(arrays[name][0]) if name in arrays else 0 for name in HELD_OUT}}
    rows["train"] -= rows["validation"] + rows["test"]
    return FitPlan(
        origin=table.origin,
        rows=rows,
        target=target,
        reason=reason,
        split=split,
        preparation=preparation,
        loss=loss,
        network_config=choices.network(preparation, target, loss),
        config=replace(config, loss=loss.name, buffer_rows=buffer_rows),
        arrays=arrays,
        ops=choices.ops,
        ignored=choices.ignore,
        mean_count=found.target.moments.mean if counts else 0.0,
        source=PreparedRows(found.source, split, preparation, target, dtype, rows["train"], found.rows),
        memory=f"{budget}: {min(buffer_rows, rows['train'])} rows are shuffled at a time, {len(arrays['train'][0])} of "
        "those that train are kept for their metrics",
    )


def _arrays(
    found: Survey,
    split: DrawnSplit,
    preparation: Preparation,
    target: Target,
    dtype: Literal["float32", "float64"],
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """The rows that are kept, as the network reads them. Raises DataError where a part has none."""
    arrays = {}
    for name, part in (("train", SAMPLE), *HELD_OUT.items()):
        wanted = {"validation": split.validation, "test": split.test}.get(name, 1.0)
        kept = found.table(part, split)
        if kept is None and wanted > 0.0:
            raise DataError(
                f"{found.shown_origin} has {found.rows} rows, of which none was drawn for '{name}'; give more rows, "
                "another --seed, or no --memory"
            )
        if kept is not None:
            x = preparation.transform(kept, dtype, also_allowed=(target.name,))
            arrays[name] = (x, target.encode(kept))
    return arrays
