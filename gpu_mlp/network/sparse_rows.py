"""A sparse matrix as the network reads it: some rows at a time, made dense when they are read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SparseRows", "is_sparse"]

# Of what is made dense at once beside the memory it goes to.
ELEMENTS_AT_ONCE = 1 << 20


def is_sparse(x: Any) -> bool:
    """Whether it is a sparse matrix or array of SciPy or CuPy."""
    return hasattr(x, "tocsr")


class SparseRows:
    """A table (N, D) whose zeros take no memory. Reads as an array on the host does: shape, type and `rows[which]`."""

    def __init__(self, matrix: Any) -> None:
        matrix = matrix.tocsr()
        # From a GPU to the host, where rows are put together.
        self._matrix = matrix.get() if hasattr(matrix, "get") else matrix
        rows, columns = self._matrix.shape
        self.shape: tuple[int, int] = (int(rows), int(columns))
        self.ndim, self.size = 2, int(rows) * int(columns)
        self.dtype: np.dtype[Any] = self._matrix.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Some rows as a dense array."""
        dense: NDArray[Any] = self._matrix[which].toarray()
        return dense

    def gather(self, index: NDArray[np.int64], out: NDArray[Any]) -> None:
        """out_b = rows[index_b] in out's type, through little memory beside it: index (B,), out (B, D)."""
        size = max(ELEMENTS_AT_ONCE // self.shape[1], 1)
        for at in range(0, len(index), size):
            out[at : at + size] = self[index[at : at + size]]
