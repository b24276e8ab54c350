"""What a compiled step or prediction is told: a record in memory, read by every thread that takes part in it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

__all__ = ["job_array", "job_pointer", "job_type"]

_ADDRESSES = (
    "itself",  # of this record
    "layers",  # (K + 1, 8), int64, as in `passes`
    "parameters",  # (P,), and so are the next three; of the states an optimizer may have none, one or both
    "gradients",
    "first_state",
    "second_state",
    "part_gradients",  # (parts - 1, P), of the parts but the first
    "units",  # of B rows in training; of `block` rows for every part in a prediction
    "errors",  # dL/df_k where f_k lies in units
    "inputs",  # (D_0, B) where the layers are narrow: the batch, unit by unit
    "x",  # (B, D_0), the batch
    "y",  # (B,) or (B, O)
    "share",  # (B,), the rows' shares of the mean loss
    "weights",  # (B,), the batch's sample weights; 0 where the shares are there already
    "table_x",  # (N, D_0), from which the batch is gathered, and so are the next two
    "table_y",
    "table_weights",
    "order",  # (S B,), which rows of the table; 0 where the batch is there already
    "output",  # (B, D_{K+1}), of a prediction
    "constants",  # of the optimizer
    "learning_rates",  # (S,), float64
    "losses",  # (S,)
    "norm",  # ()
    "part_sums",  # (3, parts), float64: the loss, the L2 penalty and the squared norm of each part
    "loss_function",  # of code, and so are the next seven
    "optimizer",  # 0 leaves it at the gradients
    "gemm",
    "steps_loop",
    "rows_part",
    "gradients_part",  # 0 where each part of the rows has gradients of its own
    "finish_part",
    "clipped_part",
)
_WHOLE = (
    "item_size",  # bytes of a number
    "layer_count",
    "size",  # P
    "unit_count",  # of the units of one part
    "rows",  # B
    "target_bytes",  # of a row of y
    "table_rows",  # N
    "steps",  # S
    "at",  # which of these it is
    "step",  # the optimizer's number of the first
    "parts",
    "block",  # rows at a time
    "weight_count",  # how many of the parameters are weights, which come first
)
_NUMBERS = (
    "loss_parameter",
    "loss_factor",
    "reported",
    "l2_penalty",
    "largest_norm",
    "total",  # the sum of the batch's weights
    "clip_factor",  # what gradients are multiplied with, in clipping
)


@cache
def job_type(dtype: str) -> np.dtype[np.void]:
    """The record for B rows, S steps and P parameters; a field without a comment above is what its name says."""
    whole = [(name, np.int64) for name in _ADDRESSES + _WHOLE]
    numbers = [(name, np.float64) for name in _NUMBERS]
    return np.dtype([*whole, *numbers, ("one", dtype)], align=True)  # 1, in the type of the arrays


def job_array(dtype: str) -> NDArray[Any]:
    """One record, which knows where it lies."""
    job = np.zeros(1, job_type(dtype))
    job["itself"], job["item_size"], job["one"] = job.ctypes.data, np.dtype(dtype).itemsize, 1
    return job


def job_pointer(dtype: str) -> Any:
    """The type of a compiled function's argument that points to the record."""
    return types.CPointer(numba.from_dtype(job_type(dtype)))
