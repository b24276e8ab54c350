"""`gpu-mlp predict`: a model's labels or values for a raw table, as CSV or Parquet."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gpu_mlp.cli.loading import load_model
from gpu_mlp.cli.output import check_new_file
from gpu_mlp.data.messages import shown_path
from gpu_mlp.errors import ConfigError
from gpu_mlp.files.atomic_file import write_atomically
from gpu_mlp.model import Model

__all__ = ["predict"]

SUFFIXES = (".csv", ".parquet")


def predict(
    model: Path,
    table: Path,
    *,
    out: Path | None = None,
    probabilities: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    device: str = "auto",
) -> int:
    """Predict the target of every row of a raw table, in its order.

    Args:
        model: model.safetensors of a run folder.
        table: file or folder, as for train, with the columns of training; the target may be there or not.
        out: .csv or .parquet file to write instead of CSV to stdout.
        probabilities: one column for each class with its probability, instead of the likeliest class.
        overwrite: replace the file at --out.
        device: auto, cpu, cuda or cuda:N.
    """
    if out is not None:
        check_new_file("--out", out, SUFFIXES, overwrite=overwrite)
    loaded = load_model(model, device)
    columns = _columns(loaded, table, probabilities)
    if out is None:
        sys.stdout.write(_csv(columns))
        return 0
    content = _csv(columns).encode("utf-8") if out.suffix.lower() == ".csv" else _parquet(columns)
    try:
        write_atomically(out, content)
    except OSError as error:
        raise ConfigError(
            f"{shown_path(out)} cannot be written ({error.strerror}); choose another --out"
        ) from None
    rows = len(next(iter(columns.values())))
    print(f"{rows} predictions written to {shown_path(out)}", file=sys.stderr)
    return 0


def _columns(model: Model, table: Path, probabilities: bool) -> dict[str, Any]:
    """Name -> one value a row."""
    if probabilities:
        matrix = model.predict_proba(table)
        return {_text(label): matrix[:, index] for index, label in enumerate(model.classes)}
    return {model.target.name if model.target else "prediction": model.predict(table)}


def _csv(columns: dict[str, Any]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [map(_text, row) for row in zip(*(values.tolist() for values in columns.values()), strict=True)]
    )
    return file.getvalue()


def _text(value: Any) -> str:
    """A label or number as training's CSV would spell it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parquet(columns: dict[str, Any]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "writing Parquet needs pyarrow, which is not installed; "
            "install it with pip install 'gpu_mlp[data]', or give --out a .csv"
        ) from None
    buffer = io.BytesIO()
    parquet.write_table(
        pa.table({name: pa.array(values.tolist()) for name, values in columns.items()}), buffer
    )
    return buffer.getvalue()
