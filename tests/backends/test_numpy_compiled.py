"""Adam in one compiled pass: the reference's numbers, for every type and option, and the reference without Numba."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
import pytest
import torch

from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.base import Array
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.numpy_compiled import FEWEST_PARAMETERS, one_pass_adam
from gpu_mlp.backends.reference import optimizers

SIZE = FEWEST_PARAMETERS + 31
CONSTANTS: dict[str, float] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
NO_DECAY = {"weight_decay": 0.0, "decoupled": 0.0}


def reference_adam(*arguments: Any, **constants: Any) -> None:
    optimizers.adam(np, *arguments, **constants)


def trained(adam: Any, dtype: str, size: int = SIZE, steps: int = 20, **decay: float) -> Array:
    """Parameters after some steps on random gradients."""
    rng = np.random.default_rng(0)
    p, m, v, t = (array.astype(dtype) for array in (rng.normal(size=size), *np.zeros((3, size))))
    for step in range(1, steps + 1):
        g = rng.normal(size=size).astype(dtype)
        adam(p, g, (m, v), t, learning_rate=1e-2, step=step, **CONSTANTS, **(NO_DECAY | decay))
    return p


@pytest.fixture
def _numba() -> None:
    pytest.importorskip("numba", reason="Numba is not installed")


@pytest.mark.usefixtures("_numba")
@pytest.mark.parametrize(
    "decay", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": 1.0}], ids=str
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
def test_one_pass_is_the_reference_to_rounding(dtype: str, tolerance: float, decay: dict[str, float]) -> None:
    compiled = trained(numpy_ops().adam, dtype, **decay)
    assert compiled.dtype == dtype
    np.testing.assert_allclose(
        compiled, trained(reference_adam, dtype, **decay), rtol=1e-5 * tolerance / 1e-6, atol=tolerance
    )


@pytest.mark.usefixtures("_numba")
def test_it_follows_pytorch() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=SIZE)
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([parameter], lr=1e-2)
    for _ in range(20):
        parameter.grad = torch.tensor(rng.normal(size=SIZE))
        optimizer.step()
    np.testing.assert_allclose(
        trained(numpy_ops().adam, "float64"), parameter.detach().numpy(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.usefixtures("_numba")
def test_only_many_parameters_are_worth_it() -> None:
    """Below the limit the bits are the reference's; from it on the compiled loop was asked."""
    few = trained(numpy_ops().adam, "float32", FEWEST_PARAMETERS - 1)
    np.testing.assert_array_equal(few, trained(reference_adam, "float32", FEWEST_PARAMETERS - 1))
    called = []

    def never(*arguments: Any, **constants: Any) -> None:
        called.append(arguments)

    adam = one_pass_adam(never)
    trained(adam, "float32", FEWEST_PARAMETERS - 1, 1)
    assert len(called) == 1
    trained(adam, "float32", FEWEST_PARAMETERS, 1)
    assert len(called) == 1


def test_without_numba_it_is_the_reference_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    numpy_compiled._compiled_adam.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "gpu_mlp"):
            parameters = trained(numpy_ops().adam, "float32")
        np.testing.assert_array_equal(parameters, trained(reference_adam, "float32"))
        assert [record.getMessage()[:32] for record in caplog.records] == ["Adam runs in several passes, sin"]
    finally:
        numpy_compiled._compiled_adam.cache_clear()
