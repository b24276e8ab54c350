"""The planned products on a cuBLASLt that runs on NumPy: layouts, transposes, epilogues, plans and refusals."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends import cuda_backend
from gpu_mlp.backends.base import ROUNDED_PRECISIONS, Array
from gpu_mlp.backends.cublaslt import LtProducts, import_cublaslt
from gpu_mlp.backends.cuda_kernels import KernelLibrary
from gpu_mlp.backends.fused import fused_ops
from gpu_mlp.backends.fused.products import NOTHING, Applied
from gpu_mlp.backends.records import LayerBelow, LayerScratch
from gpu_mlp.errors import DeviceError
from gpu_mlp.learning.steps.training_step import TrainingStep
from gpu_mlp.network.network import Network
from tests.backends.emulated import EmulatedCompiler, EmulatedPlace, emulated_ops
from tests.backends.fake_cublaslt import FakeCublasLt
from tests.backends.kernel_checks import check_layers
from tests.backends.precision_checks import check_layers as check_rounded_layers

SIZES = [1, 2, 31, 33]


def products(lt: FakeCublasLt) -> LtProducts:
    return LtProducts(lt, np.empty(64, np.uint8), lambda array: array.ctypes.data, lambda: 0)


def forward(
    lt: LtProducts, h: Array, omega: Array, f: Array, beta: Array, activation: str | None
) -> str | None:
    """With f and h in one memory; what was done in the same go."""
    return lt.forward(h, omega, beta, f, f, activation, None).activation


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
        assert not forward(lt, h, omega, f, beta, None)
        np.testing.assert_array_equal(f, h @ omega.T)
        assert forward(lt, h, omega, f, beta, "identity")
        np.testing.assert_array_equal(f, h @ omega.T + beta)
        assert forward(lt, h, omega, f, beta, "relu")
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
    assert not forward(products(fake), h, omega, f, beta, "gelu")
    np.testing.assert_array_equal(f, h @ omega.T)
    assert fake.calls == ["DEFAULT"]


def test_a_plan_is_made_once_and_follows_the_bias() -> None:
    rng = np.random.default_rng(0)
    fake = FakeCublasLt()
    lt = products(fake)
    h, omega, f = whole(rng, 3, 4), whole(rng, 5, 4), np.zeros((3, 5), np.float32)
    biases = whole(rng, 40)
    start = -biases.ctypes.data % 64 // 4
    for at in (1, 9, 17):  # all of them aligned to 4 bytes
        beta = biases[start + at : start + at + 5]
        forward(lt, h, omega, f, beta, "relu")
        np.testing.assert_array_equal(f, np.maximum(h @ omega.T + beta, 0))
    assert fake.plans == 1
    forward(lt, h[:2], omega, f[:2], beta, "relu")
    assert fake.plans == 2
    forward(
        lt, h, omega, f, biases[start : start + 5], "relu"
    )  # what was planned for 4 bytes may be slow for 64
    assert fake.plans == 3


def test_a_status_other_than_not_supported_is_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    h, omega, beta, f = whole(rng, 3, 4), whole(rng, 5, 4), whole(rng, 5), np.zeros((3, 5), np.float32)
    for refusal in (0, 15):
        fake = FakeCublasLt(missing=frozenset({"RELU_BIAS"}), refusal=refusal)
        with caplog.at_level(logging.DEBUG, "gpu_mlp"):
            assert forward(products(fake), h, omega, f, beta, "relu") is None
        assert [record.message for record in caplog.records] == [
            "no algorithm for 5 x 4 times 4 x 3 of float32 in float32 with epilogue RELU_BIAS",
            "1 algorithm for 5 x 4 times 4 x 3 of float32 in float32 with epilogue DEFAULT",
        ]
        caplog.clear()
    fake = FakeCublasLt(missing=frozenset({"RELU_BIAS"}), refusal=1)
    with pytest.raises(DeviceError, match=r"cuBLASLt cannot plan 5 x 4 times .* RELU_BIAS: status 1; update"):
        forward(products(fake), h, omega, f, beta, "relu")


def test_the_alignment_promised_is_the_one_there_is() -> None:
    memory = np.zeros(4096, np.float32)
    start = (-memory.ctypes.data % 256) // 4
    h, omega, f = (memory[start + at : start + at + 4].reshape(2, 2) for at in (64, 132, 257))
    fake = FakeCublasLt()
    forward(products(fake), h, omega, f, memory[:2], None)
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


def test_a_bias_that_is_not_finite_leaves_the_others_alone() -> None:
    """The kernel after an epilogue that has added the bias adds none, once more, for every layer of that width."""
    try:
        reference = emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))
    kernels = KernelLibrary(EmulatedCompiler("fast"), EmulatedPlace(), 1)
    ops = fused_ops(reference, "cuda-emulated", kernels, products(FakeCublasLt())).in_precision("fp16")
    h, omega, f, h_next = (np.ones((2, 2), np.float16) for _ in range(4))
    scratch = LayerScratch(f, f > 0, h[0])
    for beta, expected in ((np.inf, np.inf), (1.0, 3.0)):
        layer = h, omega, np.full(2, beta, np.float16)
        ops.layer_forward(*layer, "silu", f, h_next, scratch, None)
        np.testing.assert_array_equal(f, expected)


@pytest.mark.parametrize("width", [1, 8, 31, 128, 129, 300])
def test_relu_leaves_its_signs_and_its_gradient_is_taken_by_them(width: int) -> None:
    rng = np.random.default_rng(width)
    fake = FakeCublasLt()
    lt = products(fake)
    h, omega, beta = whole(rng, 33, 5), whole(rng, width, 5), whole(rng, width)
    omega_above, dl_df_above = whole(rng, 3, width), whole(rng, 33, 3)
    f, dl_df = np.full((33, width), np.nan, np.float32), np.full((33, width), np.nan, np.float32)
    signs = memory(33, -(-width // 128) * 16)
    assert lt.forward(h, omega, beta, f, f, "relu", signs) == Applied("relu", signs=True)
    expected = h @ omega.T + beta
    np.testing.assert_array_equal(f, np.maximum(expected, 0))
    assert lt.below_activation(dl_df_above, omega_above, "relu", signs, dl_df)
    np.testing.assert_array_equal(dl_df, np.where(expected > 0, dl_df_above @ omega_above, 0))
    assert fake.calls == ["RELU_AUX_BIAS", "DRELU"]


def memory(*shape: int, dtype: Any = np.uint8) -> Array:
    """On an address that is a multiple of 16, as a device's memory is, and full of ones."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    whole = np.full(size + 16, 0xFF, np.uint8)
    start = -whole.ctypes.data % 16
    return whole[start : start + size].view(dtype).reshape(shape)


def test_gelu_keeps_f_beside_h_in_half_types_alone() -> None:
    rng = np.random.default_rng(0)
    fake = FakeCublasLt()
    lt = products(fake)
    h, omega, beta = whole(rng, 7, 4), whole(rng, 16, 4), whole(rng, 16)
    f, h_next = (np.zeros((7, 16), np.float32) for _ in range(2))
    assert lt.forward(h, omega, beta, f, h_next, "gelu_tanh", None) == NOTHING
    half = [each.astype(np.float16) for each in (h, omega, beta)]
    for width, done in ((16, "gelu_tanh"), (12, "identity")):
        f, h_next, dl_df = (memory(7, width, dtype=np.float16) for _ in range(3))
        applied = lt.forward(half[0], half[1][:width], half[2][:width], f, h_next, "gelu_tanh", None)
        assert applied == Applied(done)
        np.testing.assert_array_equal(f, (h @ omega.T + beta)[:, :width])
        omega_above, dl_df_above = half[1][:4, :1] + np.zeros((4, width), np.float16), half[0]
        assert lt.below_activation(dl_df_above, omega_above, "gelu_tanh", f, dl_df) == (done == "gelu_tanh")
    assert fake.calls == ["DEFAULT", "GELU_AUX_BIAS", "DGELU", "BIAS"]


def test_who_looks_at_dl_dh_finds_it() -> None:
    """A product that goes on to dL/df leaves none."""
    rng = np.random.default_rng(0)
    try:
        reference = emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))
    fake = FakeCublasLt()
    kernels = KernelLibrary(EmulatedCompiler("fast"), EmulatedPlace(), 1)
    ops = fused_ops(reference, "cuda-emulated", kernels, products(fake)).in_precision("fp16")
    f, h, dl_dh, dl_df_below = (memory(4, 8, dtype=np.float16) for _ in range(4))
    f[...], h[...] = 1.0, 1.0
    dl_df, omega = whole(rng, 4, 2, dtype="float16"), whole(rng, 2, 8, dtype="float16")
    above = np.zeros((2, 8), np.float32), np.zeros(2, np.float32)
    scratch = LayerScratch(np.zeros((4, 8), np.float32), f > 0, np.ones(4, np.float32))
    for traced in (True, False):
        below = LayerBelow(f, h, "gelu_tanh", dl_dh, dl_df_below, scratch, traced=traced)
        ops.layer_backward(dl_df, h, omega, scratch, *above, below)
        assert ("DGELU" in fake.calls) is not traced
        np.testing.assert_array_equal(dl_dh, dl_df @ omega)


@pytest.mark.parametrize("precision", ["float32", *ROUNDED_PRECISIONS])
@pytest.mark.parametrize(
    ("activation", "dropout"), [("relu", 0.0), ("gelu_tanh", 0.0), ("relu", 0.3), ("gelu_tanh", 0.3)]
)
def test_whole_steps_with_every_epilogue_train_like_the_cpu(
    precision: str, activation: str, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        reference = emulated_ops()
    except DeviceError as error:
        pytest.skip(str(error))
    fake = FakeCublasLt()
    kernels = KernelLibrary(EmulatedCompiler("fast"), EmulatedPlace(), 1)
    ops = fused_ops(reference, "cuda-emulated", kernels, products(fake))
    monkeypatch.setattr(cuda_backend, "cuda_ops", lambda index: ops)
    monkeypatch.setattr(cuda_backend, "make_current", lambda index: None)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(32, 6)).astype(np.float32), rng.normal(size=(32, 2)).astype(np.float32)
    losses = {}
    for device in ("cuda", "cpu"):
        net = Network((6, 16, 24, 2), activation=activation, seed=1, device=device)
        step = TrainingStep(net, loss="squared_error", batch_size=32, dropout=dropout, precision=precision)
        losses[device] = [float(step(x, y)) for _ in range(20)]
    tolerance = {"float32": 1e-5, "bf16": 2e-2}.get(precision, 3e-3)
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=tolerance)
    backward = {"relu": "DRELU", "gelu_tanh": "DGELU"}[activation]
    in_one_go = dropout == 0.0 and (activation == "relu" or precision in ("bf16", "fp16"))
    assert (backward in fake.calls) == in_one_go
    # One for every hidden layer of every step, and no kernel beside it.
    assert fake.calls.count(backward) == (20 * 2 if in_one_go else 0)


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
        assert forward(lt, h, omega, f, beta, "relu")
        np.testing.assert_array_equal(f, np.maximum(h @ omega.T + beta, 0))
    assert fake.algorithms == [0, 1, 2, 3, 2, 2]
    plain = FakeCublasLt(candidates=6)
    forward(products(plain), h, omega, f, beta, "relu")
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
