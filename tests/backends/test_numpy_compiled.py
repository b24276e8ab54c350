"""The compiled loops: the reference's numbers, for every type and option, and the reference without Numba."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

from gpu_mlp.backends import numpy_compiled
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.numpy_compiled import (
    FEWEST_ELEMENTS,
    one_pass_adam,
    one_pass_backward,
    one_pass_forward,
)
from gpu_mlp.backends.records import Array, LayerBelow, LayerScratch
from gpu_mlp.backends.reference import optimizers
from gpu_mlp.backends.reference.activations import bind_activations
from gpu_mlp.backends.reference.layers import layer_backward, layer_forward
from gpu_mlp.backends.reference.precisions import keep

RELU = bind_activations(np, scipy.special.erf)
SIZE = FEWEST_ELEMENTS + 31
CONSTANTS: dict[str, float] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "epsilon_hat": 0.0}
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
    few = trained(numpy_ops().adam, "float32", FEWEST_ELEMENTS - 1)
    np.testing.assert_array_equal(few, trained(reference_adam, "float32", FEWEST_ELEMENTS - 1))
    called = []

    def reference(*arguments: Any, **constants: Any) -> None:
        called.append(arguments)

    adam = one_pass_adam(reference)
    trained(adam, "float32", FEWEST_ELEMENTS - 1, 1)
    assert len(called) == 1
    trained(adam, "float32", FEWEST_ELEMENTS, 1)
    assert len(called) == 1


def layer(rows: int, dtype: str, *, shared: bool = True) -> tuple[list[Array], LayerScratch]:
    """h (rows, 40), omega (257, 40), beta, f, h_next, where f and h_next are one array or two."""
    rng = np.random.default_rng(1)
    h, omega, beta = (rng.normal(size=size).astype(dtype) for size in ((rows, 40), (257, 40), 257))
    f = np.full((rows, 257), np.nan, dtype)
    scratch = LayerScratch(np.full_like(f, np.nan), np.zeros(f.shape, bool), np.ones(rows, dtype))
    return [h, omega, beta, f, f if shared else np.full_like(f, np.nan)], scratch


def hidden_units(forward: Any, arrays: list[Array], scratch: LayerScratch) -> Array:
    h, omega, beta, f, h_next = arrays
    forward(h, omega, beta, "relu", f, h_next, scratch, None)
    return h_next


ROWS = FEWEST_ELEMENTS // 257 + 1


def never(*arguments: Any) -> None:
    raise AssertionError("the reference was called")


@pytest.mark.usefixtures("_numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bias_and_relu_in_one_pass_have_the_bits_of_the_reference(dtype: str) -> None:
    reference = hidden_units(partial(layer_forward, np, RELU, keep), *layer(ROWS, dtype, shared=False))
    compiled = hidden_units(one_pass_forward(never), *layer(ROWS, dtype))
    assert compiled.dtype == dtype
    np.testing.assert_array_equal(compiled, reference)
    assert (compiled == 0.0).any()
    assert (compiled > 0.0).any()


@pytest.mark.usefixtures("_numba")
def test_a_unit_that_is_not_a_number_is_not_hidden_by_relu() -> None:
    arrays, scratch = layer(ROWS, "float32")
    arrays[2][3] = np.nan
    h = hidden_units(one_pass_forward(never), arrays, scratch)
    assert np.isnan(h[:, 3]).all()
    assert np.isfinite(np.delete(h, 3, axis=1)).all()


@pytest.mark.usefixtures("_numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_relu_in_one_pass_has_the_bits_of_the_reference(dtype: str) -> None:
    rng = np.random.default_rng(2)
    h_below = np.maximum(rng.normal(size=(ROWS, 257)), 0.0).astype(dtype)
    h_below[:, 5] = 0.0
    omega, dl_df = (rng.normal(size=size).astype(dtype) for size in ((3, 257), (ROWS, 3)))
    scratch = LayerScratch(np.empty_like(h_below), np.zeros(h_below.shape, bool), np.ones(ROWS, dtype))
    results = []
    for backward in (
        partial(layer_backward, np, RELU, keep),
        one_pass_backward(partial(layer_backward_without_below, np)),
    ):
        out = np.full_like(h_below, np.nan)
        gradients = np.full_like(omega, np.nan), np.full(3, np.nan, dtype)
        below = LayerBelow(h_below, h_below, "relu", dl_dh=out, dl_df=out, scratch=scratch)
        backward(dl_df, h_below, omega, scratch, *gradients, below)
        results.append((*gradients, out))
    for reference, compiled in zip(*results, strict=True):
        assert compiled.dtype == dtype
        np.testing.assert_array_equal(compiled, reference)
    assert (results[1][2][:, 5] == 0.0).all()


def layer_backward_without_below(xp: Any, *arguments: Any) -> None:
    """The reference, which the compiled form asks for the parameters' gradients alone."""
    assert arguments[-1] is None
    layer_backward(xp, RELU, keep, *arguments)


@pytest.mark.parametrize(
    ("rows", "shared", "activation"),
    [(ROWS - 1, True, "relu"), (ROWS, False, "relu"), (ROWS, True, "gelu")],
)
def test_small_layers_traces_and_other_activations_stay_with_the_reference(
    rows: int, shared: bool, activation: str
) -> None:
    (h, omega, beta, f, h_next), scratch = layer(rows, "float32", shared=shared)
    with pytest.raises(AssertionError, match="the reference was called"):
        one_pass_forward(never)(h, omega, beta, activation, f, h_next, scratch, None)
    dl_dh = f if shared else h_next.copy()
    below = LayerBelow(f, h_next, activation, dl_dh=dl_dh, dl_df=f, scratch=scratch)
    with pytest.raises(AssertionError, match="the reference was called"):
        one_pass_backward(never)(h, h, omega, scratch, omega, beta, below)


def test_without_numba_it_is_the_reference_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    numpy_compiled.has_numba.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "gpu_mlp"):
            parameters = trained(numpy_ops().adam, "float32")
        np.testing.assert_array_equal(parameters, trained(reference_adam, "float32"))
        assert [record.getMessage()[:50] for record in caplog.records] == [
            "steps on the CPU take a pass for each operation, s"
        ]
    finally:
        numpy_compiled.has_numba.cache_clear()
