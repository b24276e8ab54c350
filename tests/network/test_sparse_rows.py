"""Sparse matrices are read as their dense twins are, some rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from gpu_mlp.backends.base import Ops
from gpu_mlp.errors import ShapeError
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.network import network as network_module
from gpu_mlp.network import sparse_rows
from gpu_mlp.network.network import Network
from gpu_mlp.network.sparse_rows import SparseRows

DENSE = np.where(np.random.default_rng(0).random((23, 5)) < 0.3, np.arange(115.0).reshape(23, 5), 0.0)
FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_any_format_reads_as_the_dense_table(name: str, kind: str) -> None:
    rows = SparseRows(getattr(scipy.sparse, f"{name}_{kind}")(DENSE))
    assert (rows.shape, rows.ndim, rows.size, len(rows), rows.dtype) == ((23, 5), 2, 115, 23, np.float64)
    assert np.array_equal(rows[3:9], DENSE[3:9])
    assert np.array_equal(rows[np.array([7, 0, 7])], DENSE[[7, 0, 7]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("at_once", [1, 12, 1 << 20])
def test_rows_are_gathered_in_order_and_in_the_type_asked_for(
    dtype: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_rows, "ELEMENTS_AT_ONCE", at_once)
    index = np.array([22, 0, 0, 13, 5])
    out = np.full((5, 5), np.nan, np.float32)
    SparseRows(scipy.sparse.csr_array(DENSE.astype(dtype))).gather(index, out)
    assert np.array_equal(out, DENSE.astype(dtype)[index].astype(np.float32))


def test_a_matrix_of_a_gpu_is_read_on_the_host() -> None:
    class OnGpu:
        """As CuPy's: it converts there and hands out SciPy's."""

        def tocsr(self) -> OnGpu:
            return self

        def get(self) -> Any:
            return scipy.sparse.csr_array(DENSE)

    assert np.array_equal(SparseRows(OnGpu())[:], DENSE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_and_a_step_take_them(ops: Ops, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 8)
    sparse, y = scipy.sparse.csc_array(DENSE.astype(np.float32)), np.arange(23) % 3
    one, other = (Network((5, 4, 3), seed=2, device=ops.device, dtype=dtype) for _ in range(2))
    assert ops.to_host(one(sparse)).tobytes() == ops.to_host(one(DENSE)).tobytes()
    assert np.array_equal(ops.to_host(one.forward(sparse).h[0]), DENSE)
    losses = [
        float(TrainingStep(network, loss="softmax_cross_entropy", batch_size=23)(x, y))
        for network, x in ((one, sparse), (other, DENSE))
    ]
    assert losses[0] == losses[1]
    assert ops.to_host(one.parameters.flat).tobytes() == ops.to_host(other.parameters.flat).tobytes()


def test_shapes_and_types_that_do_not_fit_are_refused() -> None:
    network = Network((4, 2), device="cpu")
    with pytest.raises(ShapeError, match=r"shape \(23, 5\), but the network takes \(batch, 4\)"):
        network(scipy.sparse.csr_array(DENSE))
    with pytest.raises(ShapeError, match="complex"):
        Network((5, 2), device="cpu")(scipy.sparse.csr_array(DENSE.astype(complex)))


def test_fewer_rows_are_computed_at_once_where_layers_are_wide() -> None:
    """So that 50,000 features of 8192 rows are never dense at once."""
    assert Network((784, 512, 10), device="cpu").rows_at_once == 8192
    assert Network((50_000, 2), device="cpu").rows_at_once == (1 << 24) // 50_000
