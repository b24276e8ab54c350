"""`gpu-mlp evaluate`: a model's metrics on a table that has its target column."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpu_mlp.cli.console import print_json, print_metrics
from gpu_mlp.cli.loading import load_model
from gpu_mlp.data.locations import located
from gpu_mlp.metrics import METRIC_NAMES

__all__ = ["evaluate"]


def evaluate(
    model: Path,
    table: str,
    *,
    encoding: str | None = None,
    device: str = "auto",
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Compare a model's predictions with the target column of a table.

    Args:
        model: model.safetensors of a run folder.
        table: file, folder or URL, as for train, with the columns of training, the target among them.
        encoding: of a CSV, as for train.
        device: auto, cpu, cuda or cuda:N.
        as_json: print one JSON object instead of a table.
    """
    metrics = load_model(model, device).evaluate(table, encoding=encoding)
    if as_json:
        print_json(dict(metrics))
    else:
        print_metrics(METRIC_NAMES, {located(table).name: metrics})
    return 0
