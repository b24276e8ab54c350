"""The NumPy backend: what it reads as an array, and what it does beside the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.numpy_backend import numpy_ops, to_host_array
from gpu_mlp.errors import ShapeError
from tests.backends.guards import GuardedMemory


def test_there_is_one_of_it() -> None:
    assert numpy_ops() is numpy_ops()
    assert (numpy_ops().name, numpy_ops().device) == ("numpy", "cpu")


def test_arrays_and_cpu_tensors_are_not_copied() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert to_host_array(array) is array
    tensor = torch.tensor(array)
    assert to_host_array(tensor).ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize(("given", "expected"), [([[1, 2]], [[1, 2]]), (3.5, 3.5), ((1, 2), [1, 2])])
def test_lists_and_numbers_become_arrays(given: Any, expected: Any) -> None:
    assert to_host_array(given).tolist() == expected


class OnDevice:
    """An array of another library on a GPU, as CuPy's, Numba's, PyTorch's or JAX's."""

    __cuda_array_interface__: dict[str, Any]

    def __init__(self, kind: str) -> None:
        self.__cuda_array_interface__ = {}
        self.kind = kind
        if kind == "cupy":
            self.get = lambda: np.arange(3)
        elif kind == "numba":
            self.copy_to_host = lambda: np.arange(3)
        elif kind == "torch":
            self.detach = lambda: self
            self.cpu = lambda: np.arange(3)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.kind != "jax":
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")
        return np.arange(3)


@pytest.mark.parametrize("kind", ["cupy", "numba", "torch", "jax"])
def test_arrays_on_a_gpu_are_fetched(kind: str) -> None:
    assert to_host_array(OnDevice(kind)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[1, 2], [3]], ("list", "same length")),
        (torch.zeros(2, requires_grad=True), ("Tensor", "detach")),
        (torch.zeros(2, dtype=torch.bfloat16), ("Tensor",)),
    ],
)
def test_what_is_no_array_is_refused(given: Any, said: tuple[str, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        to_host_array(given)
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(7,), (7, 1), (33, 129), (1, 3)])
@pytest.mark.parametrize("batch", [1, 2, 31])
def test_rows_are_gathered_by_index(
    ops: Ops, memory: GuardedMemory, shape: tuple[int, ...], batch: int, dtype: str
) -> None:
    """Repeated rows, the first and the last among them."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 9, shape).astype(dtype)
    index = rng.integers(0, shape[0], batch)
    index[0], index[-1] = 0, shape[0] - 1
    out = memory(batch, *shape[1:], dtype=dtype)
    ops.gather_rows(ops.to_device(rows), ops.to_device(index), out)
    np.testing.assert_array_equal(ops.to_host(out), rows[index])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 2, 31, 127])
def test_shares_are_the_weights_over_their_sum(
    ops: Ops, memory: GuardedMemory, batch: int, dtype: str
) -> None:
    weights = np.random.default_rng(batch).random(batch).astype(dtype)
    total, share = memory(dtype=dtype), memory(batch, dtype=dtype)
    ops.row_shares(ops.to_device(weights), total, share)
    np.testing.assert_allclose(ops.to_host(share), weights / weights.sum(dtype=float), rtol=1e-6)
    assert float(total) == pytest.approx(weights.sum(dtype=float), rel=1e-6)
    ops.row_shares(ops.to_device(np.zeros(batch, dtype)), total, share)
    assert not np.any(ops.to_host(share))
    assert float(total) == np.inf
