"""The compiled forward pass: the trace's outputs, for every activation it has and any table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, COMPILED_ACTIVATIONS, Array
from gpu_mlp.network import network as network_module
from gpu_mlp.network.network import Network

pytest.importorskip("numba", reason="Numba is not installed")

from gpu_mlp.network import compiled
from gpu_mlp.network.compiled import BLOCK, CompiledOutputs


def filled(sizes: tuple[int, ...], activation: Any, dtype: Any) -> Network:
    network = Network(sizes, activation=activation, seed=1, dtype=dtype, device="cpu")
    rng = np.random.default_rng(2)
    network.biases = [rng.normal(size=width) for width in sizes[1:]]
    return network


def layerwise(network: Network, x: Array) -> Array:
    """By the layers' primitives, one after the other."""
    return network.forward(x).output


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_the_output_is_the_traces(activation: str, dtype: str, tolerance: float) -> None:
    for sizes in ((1, 1), (3, 5, 2), (31, 33, 129, 1)):
        network = filled(sizes, activation, dtype)
        for rows in (1, 2, 33, 127):
            x = np.random.default_rng(rows).normal(size=(rows, sizes[0])).astype(dtype)
            output = network(x)
            assert output.dtype == dtype
            np.testing.assert_allclose(output, layerwise(network, x), rtol=10 * tolerance, atol=tolerance)


def test_a_table_is_computed_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 16)
    network = filled((4, 6, 3), "silu", "float64")
    x = np.random.default_rng(0).normal(size=(53, 4))
    np.testing.assert_allclose(network(x), layerwise(network, x), rtol=1e-12)
    assert [(rows.start, rows.stop) for rows, _ in network.output_blocks(x)][-1] == (48, 53)


def test_two_passes_of_one_size_have_memory_of_their_own() -> None:
    network = filled((4, 6, 3), "relu", "float64")
    first, second = (CompiledOutputs(network.parameters, ("relu",), 5, "float64") for _ in range(2))
    x = np.random.default_rng(0).normal(size=(5, 4))
    one = first(x)
    kept = one.copy()
    second(2.0 * x)
    np.testing.assert_array_equal(one, kept)


@pytest.mark.parametrize("rows", [2 * BLOCK, 2 * BLOCK + 777, 3 * BLOCK - 1])
def test_many_rows_are_computed_in_threads_and_blocks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with memory for one block, in which the last rows of a part leave room."""
    monkeypatch.setattr(compiled, "FEWEST_OF_THREADS", 1)
    monkeypatch.setattr(compiled, "blas_threads", lambda: 3 if rows == 3 * BLOCK - 1 else 2)
    network = filled((4, 6, 3), "gelu_tanh", "float64")
    x = np.random.default_rng(0).normal(size=(rows, 4))
    outputs = CompiledOutputs(network.parameters, ("gelu_tanh",), rows, "float64")
    assert len(outputs._units) == (1 if rows == 3 * BLOCK - 1 else 2)  # too few rows for three
    np.testing.assert_allclose(outputs(x), layerwise(network, x), rtol=1e-12)


def test_rows_that_may_not_be_written_to_and_begin_anywhere() -> None:
    network = filled((4, 6, 3), "tanh", "float64")
    x = np.random.default_rng(0).normal(size=(5, 4))
    odd = np.frombuffer(b"." + x.tobytes(), np.float64, offset=1).reshape(x.shape)
    np.testing.assert_array_equal(network(odd), network(x))
    np.testing.assert_array_equal(network(x[::-1]), network(x)[::-1])


@pytest.mark.parametrize("activation", COMPILED_ACTIVATIONS)
def test_what_is_not_finite_stays_that(activation: str) -> None:
    network = filled((2, 3, 2), activation, "float32")
    x = np.array([[np.nan, 1.0], [1.0, 1.0]], np.float32)
    with np.errstate(all="ignore"):
        output = network(x)
    assert np.isnan(output[0]).all()
    assert np.isfinite(output[1]).all()
