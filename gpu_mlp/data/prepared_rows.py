"""`PreparedRows`: the training rows of a source as the network reads them, anew in each pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from gpu_mlp.data.drawn_split import SAMPLE, TRAIN, DrawnSplit
from gpu_mlp.data.messages import shown_path
from gpu_mlp.data.preparation import Preparation
from gpu_mlp.data.sources import TableSource
from gpu_mlp.data.targets import Target
from gpu_mlp.errors import DataError

__all__ = ["PreparedRows"]


@dataclass(frozen=True)
class PreparedRows:
    """A `learning.row_source.RowSource`.

    Attributes:
        rows: how many train.
        all_rows: of the source, those of other parts too.
    """

    source: TableSource
    split: DrawnSplit
    preparation: Preparation
    target: Target
    dtype: Literal["float32", "float64"]
    rows: int
    all_rows: int

    def blocks(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Features (n, D) and labels (n,) or standardised values (n, 1), some rows at a time.

        Raises DataError where the source has other rows than it had.
        """
        read = 0
        for batch in self.source.batches():
            x = self.preparation.transform(batch, self.dtype, also_allowed=(self.target.name,))
            y = self.target.encode(batch)
            parts = self.split.parts(self.split.numbers(read, batch.rows))
            read += batch.rows
            trains = (parts == TRAIN) | (parts == SAMPLE)
            yield (x, y) if trains.all() else (x[trains], y[trains])
        if read != self.all_rows:
            raise DataError(
                f"{shown_path(self.source.origin)} has {read} rows now, but had {self.all_rows}; leave it as it is "
                "while it is trained on"
            )
