"""The forward pass: a trace that holds every f and h, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.network.forward import allocate_trace, forward
from gpu_mlp.network.network import Network


def test_the_trace_holds_every_pre_activation_and_hidden_unit(ops: Ops) -> None:
    """The example that must always work; f_k = h_k Omega_k^T + beta_k and h_{k+1} = a[f_k] in plain NumPy."""
    rng = np.random.default_rng(0)
    net = Network((2, 4, 7, 3, 2), activation="relu", dtype="float64", device=ops.device)
    net.biases = [rng.normal(size=width) for width in (4, 7, 3, 2)]
    x = rng.normal(size=(5, 2))
    trace = net.forward(x)
    assert [array.shape for array in trace.f] == [(5, 4), (5, 7), (5, 3), (5, 2)]
    assert [array.shape for array in trace.h] == [(5, 2), (5, 4), (5, 7), (5, 3)]
    assert trace.output is trace.f[-1]
    h = x
    for k in range(4):
        np.testing.assert_allclose(ops.to_host(trace.h[k]), h, rtol=1e-14, atol=1e-15)
        f = h @ ops.to_host(net.weights[k]).T + ops.to_host(net.biases[k])
        np.testing.assert_allclose(ops.to_host(trace.f[k]), f, rtol=1e-13, atol=1e-14)
        h = np.maximum(f, 0)


def test_a_network_without_hidden_layers_is_a_linear_model(ops: Ops) -> None:
    net = Network((3, 2), dtype="float64", device=ops.device)
    net.set_parameters([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], [[0.5, -0.5]])
    trace = net.forward([[1.0, 0.0, -1.0]])
    assert ops.to_host(trace.output).tolist() == [[-1.5, -2.5]]
    assert len(trace.f) == len(trace.h) == 1


def test_every_trace_has_its_own_memory(ops: Ops) -> None:
    net = Network((3, 5, 2), device=ops.device)
    first = net.forward(np.zeros((4, 3)))
    kept = first.output.copy()
    net.forward(np.ones((4, 3)))
    np.testing.assert_array_equal(ops.to_host(first.output), ops.to_host(kept))


def test_a_pass_overwrites_whatever_the_memory_held(ops: Ops) -> None:
    net = Network((3, 5, 4, 2), activation="gelu_tanh", dtype="float64", device=ops.device)
    x = np.random.default_rng(0).normal(size=(7, 3))
    trace = allocate_trace(ops, net.layer_sizes, 7, "float64")
    for array in (*trace.f, *trace.h, *(scratch.values for scratch in trace.scratch)):
        array[...] = np.nan
    trace.h[0] = ops.to_device(x)
    forward(ops, net.parameters, net.activations, trace)
    np.testing.assert_array_equal(ops.to_host(trace.output), ops.to_host(net.forward(x).output))


@pytest.mark.parametrize("rows", [1, 2, 31, 127])
def test_rows_do_not_depend_on_each_other(ops: Ops, rows: int) -> None:
    net = Network((3, 33, 5), activation="silu", dtype="float64", device=ops.device)
    x = np.random.default_rng(rows).normal(size=(127, 3))
    together = ops.to_host(net.forward(x).output)
    alone = ops.to_host(net.forward(x[:rows]).output)
    np.testing.assert_allclose(alone, together[:rows], rtol=1e-12, atol=1e-14)
