"""The planned products on a cuBLASLt that runs on NumPy: layouts, transposes, epilogues, plans and refusals."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import ROUNDED_PRECISIONS
from gpu_mlp.backends.cublaslt import LtProducts, import_cublaslt
from gpu_mlp.backends.cuda_kernels import KernelLibrary
from gpu_mlp.backends.fused import fused_ops
from gpu_mlp.errors import DeviceError
from tests.backends.emulated import EmulatedCompiler, EmulatedPlace, emulated_ops
from tests.backends.fake_cublaslt import FakeCublasLt
from tests.backends.kernel_checks import check_layers
from tests.backends.precision_checks import check_layers as check_rounded_layers

SIZES = [1, 2, 31, 33]


def products(lt: FakeCublasLt) -> LtProducts:
    return LtProducts(lt, np.empty(64, np.uint8), lambda array: array.ctypes.data, lambda: 0)


def whole(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> Any:
    """Small whole numbers, whose products are exact."""
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_three_products_are_those_of_the_page_of_equations(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for batch, inputs, outputs in product(SIZES, SIZES, SIZES):
        h, omega = whole(rng, batch, inputs, dtype=dtype), whole(rng, outputs, inputs, dtype=dtype)
        dl_df, beta = whole(rng, batch, outputs, dtype=dtype), whole(rng, outputs, dtype=dtype)
        lt = products(FakeCublasLt())
        f, dl_domega, dl_dbeta, dl_dh = (
            np.full(shape, np.nan, dtype)
            for shape in ((batch, outputs), (outputs, inputs), outputs, (batch, inputs))
        )
        assert not lt.forward(h, omega, f, beta, None)
        np.testing.assert_array_equal(f, h @ omega.T)
        assert lt.forward(h, omega, f, beta, "identity")
        np.testing.assert_array_equal(f, h @ omega.T + beta)
        assert lt.forward(h, omega, f, beta, "relu")
        np.testing.assert_array_equal(f, np.maximum(h @ omega.T + beta, 0))
        assert lt.weights(dl_df, h, dl_domega, dl_dbeta)
        np.testing.assert_array_equal(dl_domega, dl_df.T @ h)
        np.testing.assert_array_equal(dl_dbeta, dl_df.sum(axis=0))
        lt.below(dl_df, omega, dl_dh)
        np.testing.assert_array_equal(dl_dh, dl_df @ omega)


def test_an_activation_without_an_epilogue_is_left_to_its_kernel() -> None:
    rng = np.random.default_rng(0)
    fake = FakeCublasLt()
    h, omega, beta, f = whole(rng, 3, 4), whole(rng, 5, 4), whole(rng, 5), np.zeros((3, 5), np.float32)
    assert not products(fake).forward(h, omega, f, beta, "gelu")
    np.testing.assert_array_equal(f, h @ omega.T)
    assert fake.calls == ["DEFAULT"]


def test_a_plan_is_made_once_and_follows_the_bias() -> None:
    rng = np.random.default_rng(0)
    fake = FakeCublasLt()
    lt = products(fake)
    h, omega, f = whole(rng, 3, 4), whole(rng, 5, 4), np.zeros((3, 5), np.float32)
    for _ in range(3):
        beta = whole(rng, 5)
        lt.forward(h, omega, f, beta, "relu")
        np.testing.assert_array_equal(f, np.maximum(h @ omega.T + beta, 0))
    assert fake.plans == 1
    lt.forward(h[:2], omega, f[:2], beta, "relu")
    assert fake.plans == 2


def test_the_alignment_promised_is_the_one_there_is() -> None:
    memory = np.zeros(4096, np.float32)
    start = (-memory.ctypes.data % 256) // 4
    h, omega, f = (memory[start + at : start + at + 4].reshape(2, 2) for at in (64, 132, 257))
    fake = FakeCublasLt()
    products(fake).forward(h, omega, f, memory[:2], None)
    # A is omega, B is h, C and D are f; the workspace comes first.
    assert list(fake.preferences[0].values()) == [64, 16, 256, 4, 4]


@pytest.mark.parametrize(
    "missing", [set(), {"BIAS", "RELU_BIAS"}, {"BGRADB"}, {"BIAS", "RELU_BIAS", "BGRADB"}]
)
def test_without_an_epilogue_kernels_step_in(missing: set[str]) -> None:
    try:
        reference = emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))
    fake = FakeCublasLt(missing=frozenset(missing))
    kernels = KernelLibrary(EmulatedCompiler("fast"), EmulatedPlace(), 1)
    ops = fused_ops(reference, "cuda-emulated", kernels, products(fake))
    check_layers(ops, "float32", ["relu", "gelu"], shapes=[(1, 1), (31, 4), (33, 32)])
    assert set(fake.calls) == {"DEFAULT", "RELU_BIAS", "BGRADB"} - missing
    for precision in ROUNDED_PRECISIONS:
        check_rounded_layers(ops, precision, ["relu", "gelu"], shapes=[(1, 1), (31, 4), (33, 32)])
    assert ("BIAS" in fake.calls) == ("BIAS" not in missing)


def test_with_a_timer_the_fastest_of_a_few_candidates_is_kept() -> None:
    rng = np.random.default_rng(0)
    fake = FakeCublasLt(candidates=6)
    seconds = {0: 3.0, 1: 2.0, 2: 1.0, 3: 4.0}

    def timer(work: Callable[[], None]) -> float:
        work()
        return seconds[fake.algorithms[-1]]

    lt = LtProducts(fake, np.empty(64, np.uint8), lambda array: array.ctypes.data, lambda: 0, timer)
    h, omega, beta, f = whole(rng, 3, 4), whole(rng, 5, 4), whole(rng, 5), np.zeros((3, 5), np.float32)
    for _ in range(2):
        assert lt.forward(h, omega, f, beta, "relu")
        np.testing.assert_array_equal(f, np.maximum(h @ omega.T + beta, 0))
    assert fake.algorithms == [0, 1, 2, 3, 2, 2]
    plain = FakeCublasLt(candidates=6)
    products(plain).forward(h, omega, f, beta, "relu")
    assert plain.algorithms == [0]


def test_no_algorithm_at_all_is_a_sentence() -> None:
    lt = products(FakeCublasLt(missing=frozenset({"DEFAULT"})))
    arrays = (np.zeros(shape, np.float32) for shape in ((3, 5), (5, 4), (3, 4)))
    with pytest.raises(
        DeviceError, match="no algorithm for a product of 4 x 5 and 5 x 3 of float32 in float32"
    ):
        lt.below(*arrays)


def test_without_nvmath_the_log_says_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "nvmath.bindings", None)
    import_cublaslt.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "gpu_mlp"):
            assert import_cublaslt() is None
        assert "steps are not captured, since nvmath-python cannot be imported" in caplog.text
    finally:
        import_cublaslt.cache_clear()
