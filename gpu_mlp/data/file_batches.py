"""The rows of one file some at a time, as columns: CSV, Parquet, Feather, and the files of arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpu_mlp.data.array_files import is_array_file, read_array_file
from gpu_mlp.data.csv_reading import CsvBatches
from gpu_mlp.data.csv_text import count_lines
from gpu_mlp.data.files import DESCRIPTION_LIMITS, check_file, is_arrow_stream, kind_of, looked_at, refused
from gpu_mlp.data.locations import Location, RemoteFile, opened_by_arrow

__all__ = ["FileBatches", "open_batches"]

# Values of a batch: 8 MiB of float64. Of smaller ones more time goes into the calls, and into the turns that reading
# and training take at Python's lock.
VALUES_AT_ONCE = 1 << 20
FEWEST_ROWS = 256


class FileBatches(Protocol):
    """A file that is read from its beginning as often as asked.

    Attributes:
        names: of its columns.
        rows_at_most: how many it has, or a few more.
        bytes_held: of its values that are in memory all the time.
    """

    bytes_held: int

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def rows_at_most(self) -> int: ...

    def batches(self) -> Iterator[Mapping[str, Any]]:
        """Its rows in their order: name -> values, an array or an Arrow column. Raises DataError."""


def open_batches(path: Location, as_text: Collection[str], encoding: str | None) -> FileBatches:
    """The batches of a file, whose beginning was read. Raises DataError where that cannot be."""
    if isinstance(path, Path) and is_array_file(path) and path.is_file():
        return _Arrays(path)
    check_file(path)
    with refused(path):
        match kind_of(path):
            case "CSV":
                return _Csv(path, as_text, encoding)
            case "Parquet":
                return _Parquet(path)
            case _:
                return _Feather(path)


def rows_at_once(columns: int) -> int:
    """How many rows make a batch."""
    return max(VALUES_AT_ONCE // max(columns, 1), FEWEST_ROWS)


def _columns(table: Any) -> dict[str, Any]:
    return dict(zip(table.column_names, table.columns, strict=True))


class _Csv:
    bytes_held = 0

    def __init__(self, path: Location, as_text: Collection[str], encoding: str | None) -> None:
        self._path, self._csv = path, CsvBatches(path, as_text, encoding)
        self.names = self._csv.names

    @property
    def rows_at_most(self) -> int:
        with refused(self._path):
            return count_lines(self._path)

    def batches(self) -> Iterator[Mapping[str, Any]]:
        with refused(self._path):
            for table in self._csv:
                yield _columns(table)


class _Parquet:
    bytes_held = 0

    def __init__(self, path: Location) -> None:
        self._path = path
        with self._open() as file:
            self.names = tuple(file.schema_arrow.names)
            self.rows_at_most = int(file.metadata.num_rows)

    def batches(self) -> Iterator[Mapping[str, Any]]:
        import pyarrow as pa

        with refused(self._path), self._open() as file:
            rows = rows_at_once(len(self.names))
            for batch in file.iter_batches(batch_size=rows, use_threads=False):
                yield _columns(looked_at(pa.Table.from_batches([batch])))

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        # Read ahead by little: whole column chunks of a row group may be more than there is memory for.
        return pq.ParquetFile(
            opened_by_arrow(self._path), buffer_size=1 << 18, pre_buffer=False, **DESCRIPTION_LIMITS
        )


class _Feather:
    """Arrow's file format, or its stream; its own batches, cut where they are large."""

    bytes_held = 0

    def __init__(self, path: Location) -> None:
        self._path = path
        self._is_stream = is_arrow_stream(path)
        with self._open() as reader:
            self.names = tuple(reader.schema.names)

    @property
    def rows_at_most(self) -> int:
        with refused(self._path), self._open() as reader:
            return sum(batch.num_rows for batch in self._batches(reader))

    def batches(self) -> Iterator[Mapping[str, Any]]:
        import pyarrow as pa

        rows = rows_at_once(len(self.names))
        with refused(self._path), self._open() as reader:
            for batch in self._batches(reader):
                for start in range(0, batch.num_rows, rows):
                    yield _columns(looked_at(pa.Table.from_batches([batch.slice(start, rows)])))

    def _batches(self, reader: Any) -> Iterator[Any]:
        if self._is_stream:
            return iter(reader)
        return (reader.get_batch(index) for index in range(reader.num_record_batches))

    def _open(self) -> Any:
        import pyarrow as pa

        remote = isinstance(self._path, RemoteFile)
        file = opened_by_arrow(self._path) if remote else pa.memory_map(str(self._path))
        return pa.ipc.open_stream(file) if self._is_stream else pa.ipc.open_file(file)


class _Arrays:
    """Columns of arrays; those that lie in the file as they are stay there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        columns = read_array_file(path)
        self.names = tuple(columns)
        self.rows_at_most = max(map(len, columns.values()), default=0)
        held = [values for values in columns.values() if not isinstance(values, np.memmap)]
        self.bytes_held = sum(values.nbytes for values in held)

    def batches(self) -> Iterator[Mapping[str, Any]]:
        columns = read_array_file(self._path)
        rows = rows_at_once(len(columns))
        for start in range(0, max(map(len, columns.values()), default=0), rows):
            yield {name: np.asarray(values[start : start + rows]) for name, values in columns.items()}
