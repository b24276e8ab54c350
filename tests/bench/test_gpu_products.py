"""The products that are measured, on a stand-in for cuBLASLt: types and epilogues that a precision asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpu.ceilings import product_rate
from gpu.precisions import PRECISIONS, types_of
from gpu.product_cases import product_cases
from gpu.timing import Timing

from gpu_mlp.backends.cublaslt import LtProducts
from gpu_mlp.backends.fused import DotProducts
from tests.backends.cublaslt_arithmetic import Operation
from tests.backends.fake_cublaslt import FakeCublasLt, Layout

BATCH, INPUTS, OUTPUTS = 6, 8, 16
SIZE = (BATCH, INPUTS, OUTPUTS)
FLOAT32, TF32, FLOAT64 = 68, 77, 70
TYPE_NUMBERS = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
EPILOGUES = ["BIAS", "RELU_BIAS", "RELU_AUX_BIAS", "BGRADB", "DEFAULT", "DRELU"]
OF_HALVES = [*EPILOGUES, "GELU_AUX_BIAS", "DGELU"]


class Lt(FakeCublasLt):
    """Which keeps the types of every product: what is computed in, the factors' and the result's."""

    def matmul(self, *arguments: Any) -> None:
        described: Operation = self.objects[arguments[1]]
        layouts: list[Layout] = [self.objects[arguments[at]] for at in (4, 6, 11)]
        self.__dict__.setdefault("types", []).append(
            (described.compute_type, *(layout.type for layout in layouts))
        )
        super().matmul(*arguments)


def products_of(lt: Lt) -> LtProducts:
    return LtProducts(lt, np.empty(64, np.uint8), lambda array: int(array.ctypes.data), lambda: 0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_epilogue_of_a_step_is_measured_in_its_types(precision: str) -> None:
    lt = Lt()
    made = [make() for make in product_cases(np, products_of(lt), SIZE, precision)]
    epilogues = OF_HALVES if precision in ("bf16", "fp16") else EPILOGUES
    assert lt.calls == epilogues
    assert [case.name.split()[-1] for case in made] == epilogues
    factors, results = (TYPE_NUMBERS[each.name] for each in types_of(precision))
    compute = {"tf32": TF32, "float64": FLOAT64}.get(precision, FLOAT32)
    of_results = ("BIAS", "BGRADB")  # the last layer forward, and the gradients of weights
    assert lt.__dict__["types"] == [
        (compute, factors, factors, results if each in of_results else factors) for each in epilogues
    ]
    lt.calls.clear()
    for case in made:
        case.work()
    assert lt.calls == epilogues
    assert {case.flops for case in made} == {2 * BATCH * INPUTS * OUTPUTS}


@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_bytes_are_of_every_array_once(precision: str) -> None:
    made = {
        case.name.split()[-1]: case
        for case in (m() for m in product_cases(np, products_of(Lt()), SIZE, precision))
    }
    size = {"float32": 4, "fp16": 2}[precision]
    h, omega, f, beta = (size * each for each in (BATCH * INPUTS, INPUTS * OUTPUTS, BATCH * OUTPUTS, OUTPUTS))
    signs = 16 * BATCH
    expected = {
        "BIAS": h + omega + 4 * (BATCH + 1) * OUTPUTS,
        "RELU_BIAS": h + omega + f + beta,
        "RELU_AUX_BIAS": h + omega + f + beta + signs,
        "BGRADB": h + f + 4 * (INPUTS + 1) * OUTPUTS,
        "DEFAULT": h + omega + f,
        "DRELU": h + omega + f + signs,
    }
    if precision == "fp16":
        expected |= {"GELU_AUX_BIAS": h + omega + 2 * f + beta, "DGELU": 2 * h + omega + f}
    assert {name: case.bytes for name, case in made.items()} == expected


def test_what_is_not_done_in_one_go_says_so_and_is_timed_as_a_plain_product() -> None:
    lt = Lt(missing=frozenset({"BGRADB", "DRELU", "RELU_AUX_BIAS"}))
    made = [make() for make in product_cases(np, products_of(lt), SIZE, "float32")]
    assert [case.name for case in made] == [
        "product forward BIAS",
        "product forward RELU_BIAS",
        "product forward RELU_AUX_BIAS, not in one go",
        "product weights BGRADB, not in one go",
        "product below DEFAULT",
        "product below DRELU, not in one go",
    ]
    lt.calls.clear()
    for case in made:
        case.work()
    assert lt.calls == ["BIAS", "RELU_BIAS", "RELU_BIAS", "DEFAULT", "DEFAULT", "DEFAULT"]


def test_gelu_is_measured_where_a_step_asks_for_it() -> None:
    made = [make().name.split()[-1] for make in product_cases(np, products_of(Lt()), (6, 8, 12), "bf16")]
    assert made == [*EPILOGUES, "DGELU"]
    made = [make().name.split()[-1] for make in product_cases(np, products_of(Lt()), (6, 12, 8), "bf16")]
    assert made == [*EPILOGUES, "GELU_AUX_BIAS"]


def test_products_without_epilogues_are_measured_too() -> None:
    made = [make() for make in product_cases(np, DotProducts(np), SIZE, "float64")]
    for case in made:
        case.work()
    assert [case.name for case in made if "not in one go" not in case.name] == ["product below DEFAULT"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_rate_of_a_product(precision: str) -> None:
    lt, (factors, results) = Lt(), types_of(precision)

    def timer(work: Any) -> Timing:
        work()
        return Timing(0.5, "graph")

    rate = product_rate(np, timer, products_of(lt), precision, results, 4)
    assert rate["flop_per_s"] == 2 * 4**3 / 0.5
    assert rate["by"] == "LtProducts"
    compute = {"tf32": TF32, "float64": FLOAT64}.get(precision, FLOAT32)
    number = TYPE_NUMBERS[factors.name]
    assert lt.__dict__["types"] == [(compute, number, number, TYPE_NUMBERS[results.name])]
