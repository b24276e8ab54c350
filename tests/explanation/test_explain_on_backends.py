"""The story of a network on another device is told with that device's numbers, and they are the CPU's to rounding."""

from __future__ import annotations

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.backends.base import Ops
from gpu_mlp.explanation.explain import Explanation, explain


def told(device: str, dtype: str, activation: str) -> Explanation:
    config = gpu_mlp.NetworkConfig((2, 4, 7, 3, 2), activation, dtype=dtype)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    shapes = [(4, 2), (7, 4), (3, 7), (2, 3)]
    weights, biases = (
        [rng.normal(size=shape) for shape in shapes],
        [rng.normal(size=shape[0]) for shape in shapes],
    )
    network = gpu_mlp.Network.from_parameters(config, weights, biases, device)
    return explain(network, rng.normal(size=(5, 2)), [0, 1, 1, 0, 1])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_every_backend_tells_the_same(ops: Ops, dtype: str, tolerance: float, activation: str) -> None:
    found, expected = told(ops.device, dtype, activation), told("cpu", dtype, activation)
    assert found.network.ops.name == ops.name
    for key, quantity in expected.walk.quantities.items():
        values = found.walk.quantities[key].values
        assert isinstance(values, np.ndarray)
        np.testing.assert_allclose(values, quantity.values, rtol=tolerance, atol=tolerance, err_msg=key)
    assert found.quirks.largest_difference < tolerance
    assert all(check.passed for check in found.checks)
    assert found.html().count("<article") == 24
