"""Predictions as CSV or Parquet, written as they come."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from gpu_mlp.errors import ConfigError
from gpu_mlp.files.atomic_file import atomic_file

__all__ = ["PREDICTION_SUFFIXES", "text_of", "write_csv", "write_predictions"]

PREDICTION_SUFFIXES = (".csv", ".parquet")

# Name -> one value a row, of some rows.
Batch = Mapping[str, NDArray[Any]]


def write_predictions(path: Path, batches: Iterable[Batch]) -> int:
    """Write all batches to a file that is there once it is whole; the number of rows.

    Raises OSError, ConfigError where Parquet needs pyarrow, and what the batches raise.
    """
    parquet = None if path.suffix.lower() == ".csv" else _pyarrow()
    with atomic_file(path) as file:
        if parquet is not None:
            return _write_parquet(file, batches)
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = write_csv(text, batches)
        text.detach()  # flushes; the file is closed by whoever opened it
        return rows


def write_csv(file: Any, batches: Iterable[Batch]) -> int:
    """Write a header and the rows of all batches to a text file; the number of rows."""
    writer, rows = csv.writer(file, lineterminator="\n"), 0
    for columns in batches:
        if not rows:
            writer.writerow(columns)
        lists = [values.tolist() for values in columns.values()]
        writer.writerows([map(text_of, row) for row in zip(*lists, strict=True)])
        rows += len(lists[0])
    return rows


def text_of(value: Any) -> str:
    """A label or number as training's CSV would spell it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise ConfigError(
            "writing Parquet needs pyarrow, which is not installed; "
            "install it with pip install 'gpu_mlp[data]', or give --out a .csv"
        ) from None
    return pa


def _write_parquet(file: IO[bytes], batches: Iterable[Batch]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    writer, rows = None, 0
    try:
        for columns in batches:
            table = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})
            if writer is None:
                writer = parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return rows
