"""`gpu-mlp predict`: a model's labels or values for a raw table, as CSV or Parquet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gpu_mlp.cli.loading import load_model
from gpu_mlp.cli.output import check_new_file, refused_to_write
from gpu_mlp.data.messages import shown_path
from gpu_mlp.files.prediction_file import PREDICTION_SUFFIXES, text_of, write_csv, write_predictions
from gpu_mlp.model import Model

__all__ = ["predict"]


def predict(
    model: Path,
    table: str,
    *,
    out: Path | None = None,
    probabilities: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    encoding: str | None = None,
    device: str = "auto",
) -> int:
    """Predict the target of every row of a raw table, in its order, some rows at a time.

    Args:
        model: model.safetensors of a run folder.
        table: file, folder or URL, as for train, with the columns of training; the target may be there or not.
        out: .csv or .parquet file to write instead of CSV to stdout.
        probabilities: one column for each class with its probability, instead of the likeliest class.
        overwrite: replace the file at --out.
        encoding: of a CSV, as for train.
        device: auto, cpu, cuda or cuda:N.
    """
    if out is not None:
        check_new_file("--out", out, PREDICTION_SUFFIXES, overwrite=overwrite)
    batches = _batches(load_model(model, device), table, probabilities, encoding)
    if out is None:
        write_csv(sys.stdout, batches)
        return 0
    with refused_to_write("--out", out):
        rows = write_predictions(out, batches)
    print(f"{rows} predictions written to {shown_path(out)}", file=sys.stderr)
    return 0


def _batches(model: Model, table: str, probabilities: bool, encoding: str | None) -> Iterator[dict[str, Any]]:
    """Name -> one value a row, of some rows at a time."""
    for predicted in model.predictions(table, probabilities=probabilities, encoding=encoding):
        if probabilities:
            yield {text_of(label): predicted[:, index] for index, label in enumerate(model.classes)}
        else:
            yield {model.target.name if model.target else "prediction": predicted}
