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
from gpu_mlp.network.compiled import ROWS_AT_ONCE, CompiledOutputs
from gpu_mlp.network.parameters import ParameterLayout


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


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("rows", [128, 129, 2 * ROWS_AT_ONCE, 4 * ROWS_AT_ONCE + 777])
@pytest.mark.parametrize("sizes", [(4, 6, 3), (33, 129, 65, 3)], ids=str)
def test_many_rows_are_computed_in_parts_and_blocks(
    sizes: tuple[int, ...], rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with memory for one block, in which the last rows of a part leave room."""
    for name in ("FEWEST_OF_PARTS", "FEWEST_OF_NARROW_PARTS"):
        monkeypatch.setattr(compiled, name, 1)
    for name in ("FEWEST_ROWS", "FEWEST_NARROW_ROWS"):
        monkeypatch.setattr(compiled, name, 64)
    monkeypatch.setattr(compiled, "blas_threads", lambda: threads)
    network = filled(sizes, "gelu_tanh", "float64")
    x = np.random.default_rng(0).normal(size=(rows, sizes[0]))
    outputs = CompiledOutputs(network.parameters, network.activations, rows, "float64")
    assert outputs._plan.parts == min(threads, rows // 64)
    np.testing.assert_allclose(outputs(x), layerwise(network, x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [1, 5, 600])
def test_narrow_layers_have_the_numbers_of_wide_ones(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = filled((3, 5, 1, 7, 2), "silu", "float64")
    x = np.random.default_rng(0).normal(size=(rows, 3))
    assert compiled.is_narrow(network.parameters.layout)
    narrow = network(x)
    monkeypatch.setattr(compiled, "is_narrow", lambda layout: False)
    compiled._plan.cache_clear()
    np.testing.assert_allclose(network(x), narrow, rtol=1e-12, atol=1e-14)
    compiled._plan.cache_clear()


def test_how_many_parts_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough rows and work for each of BLAS's threads."""
    monkeypatch.setattr(compiled, "blas_threads", lambda: 4)
    layouts = {
        sizes: ParameterLayout(sizes) for sizes in ((2, 4, 7, 3, 2), (64, 128, 64, 10), (784, 512, 10))
    }
    tiny, small, large = layouts.values()
    assert [compiled.step_parts(tiny, rows) for rows in (64, 256, 1024, 65536)] == [1, 1, 4, 4]
    assert [compiled.step_parts(small, rows) for rows in (1, 32, 64, 96, 4096)] == [1, 1, 2, 3, 4]
    assert [compiled._output_parts(small, rows, 4) for rows in (64, 128, 4096)] == [1, 4, 4]
    assert [compiled._output_parts(large, rows, 4) for rows in (64, 128, 4096)] == [1, 2, 4]
    assert not compiled.takes_gradients_by_outputs(small, 64)
    assert compiled.takes_gradients_by_outputs(large, 64)
    assert not compiled.takes_gradients_by_outputs(large, 1024)
    assert compiled.takes_gradients_by_outputs(ParameterLayout((784, 4096, 4096, 10)), 65536)


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
