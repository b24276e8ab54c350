"""The NumPy backend: `reference_ops(numpy)` with what the CPU does better."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import scipy.special

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_compiled import one_pass_adam, one_pass_backward, one_pass_forward
from gpu_mlp.backends.reference import reference_ops
from gpu_mlp.backends.reference.optimizers import unless_skipped
from gpu_mlp.errors import ShapeError

__all__ = ["gather_rows", "numpy_ops", "to_host_array"]

# Measured with Adam's passes over 670,000 float32 and a second-level cache of 2 MB, from 2^11 to all at once.
ELEMENTS_AT_ONCE = 1 << 17


def gather_rows(rows: Array, index: Array, out: Array) -> None:
    """out_b = rows[index_b]. `clip` only because `raise` makes NumPy buffer the result.

    The index is the package's own.
    """
    rows.take(index, 0, out, "clip")


def to_host_array(array: Any) -> Array:
    """A NumPy array of anything array-like.

    Without a copy from NumPy and, through DLPack, from CPU memory of other libraries.

    Raises ShapeError where the object lives on a GPU that NumPy cannot read.
    """
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "__cuda_array_interface__"):
        return np.asarray(_fetched(array))
    if hasattr(array, "__dlpack__"):
        try:
            return np.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError) as error:
            raise ShapeError(
                f"a {type(array).__name__} cannot be read as a NumPy array ({error}); "
                "detach it from its graph and move it to the CPU first"
            ) from error
    try:
        return np.asarray(array)
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"a {type(array).__name__} cannot be read as an array ({error}); give rows of the same length"
        ) from error


def _fetched(array: Any) -> Any:
    """What NumPy reads of a GPU's array, as its library gives it: CuPy, Numba, PyTorch, or JAX, whose NumPy can."""
    for name in ("get", "copy_to_host"):
        if hasattr(array, name):
            return getattr(array, name)()
    return array.detach().cpu() if hasattr(array, "detach") else array


@cache
def numpy_ops() -> Ops:
    """The backend behind `device="cpu"`."""
    reference = reference_ops(
        np,
        name="numpy",
        device="cpu",
        erf=scipy.special.erf,
        to_device=to_host_array,
        to_host=np.asarray,
        synchronize=lambda: None,
        elements_at_once=ELEMENTS_AT_ONCE,
    )
    return replace(
        reference,
        gather_rows=gather_rows,
        gather_factors=gather_rows,
        layer_forward=one_pass_forward(reference.layer_forward),
        layer_backward=one_pass_backward(reference.layer_backward),
        adam=unless_skipped(one_pass_adam(reference.adam)),
    )
