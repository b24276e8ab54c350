"""The kernels' cases on the emulator: what each launches, how many bytes it must move, and what a failure costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.special
from gpu import kernels
from gpu.cases import Case
from gpu.ceilings import scattered
from gpu.idle_products import IdleProducts
from gpu.kernel_cases import kernel_cases
from gpu.notes import Notes
from gpu.precisions import types_of
from gpu.product_cases import product_cases
from gpu.timing import CudaTimer, Timing

from gpu_mlp.backends.cuda_kernels import KernelLibrary, Launch, kernel_folder, parse_kernels
from gpu_mlp.backends.fused import DotProducts, fused_ops
from gpu_mlp.backends.numpy_backend import to_host_array
from gpu_mlp.backends.reference import reference_ops
from tests.backends.emulated import EmulatedCompiler, EmulatedPlace
from tests.emulator import unavailable_reason

ROWS, WIDTH = 6, 8
ELEMENTS = ROWS * WIDTH


class Spy:
    """The emulator's compiler, which keeps the names of the kernels that were launched."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.templates: set[str] = set()
        self._compile = EmulatedCompiler("fast")

    def __call__(self, file: str, source: str, name: str) -> Launch:
        launch = self._compile(file, source, name)

        def run(*arguments: Any) -> Any:
            self.launched.append(name.partition("<")[0])
            self.templates.add(name)
            return launch(*arguments)

        return run


@pytest.fixture(scope="module")
def spy() -> Spy:
    reason = unavailable_reason()
    if reason is not None:
        pytest.skip(f"kernels cannot be emulated here: {reason}")
    return Spy()


@pytest.fixture(scope="module")
def cases(spy: Spy) -> Callable[..., list[Case]]:
    """Those of one precision."""
    reference = reference_ops(
        np,
        name="reference",
        device="cuda:0",
        erf=scipy.special.erf,
        to_device=to_host_array,
        to_host=np.asarray,
        synchronize=lambda: None,
    )
    idle = IdleProducts()
    ops = fused_ops(reference, "cuda", KernelLibrary(spy, EmulatedPlace(), 1), idle, lambda work: work)

    def made(precision: str, rows: int = ROWS) -> list[Case]:
        return [make() for make in kernel_cases(ops, idle, rows, WIDTH, precision)]

    return made


@pytest.mark.parametrize("precision", ["float32", "bf16", "float64"])
def test_a_case_launches_the_kernels_that_it_names(cases: Any, spy: Spy, precision: str) -> None:
    for case in cases(precision):
        spy.launched.clear()
        case.work()
        assert set(spy.launched) == set(case.kernels), case.name
        assert len(spy.launched) == len(case.kernels) or case.name == "column_sums", case.name


def test_every_kernel_of_the_folder_has_a_case(cases: Any) -> None:
    declared = {name for path in kernel_folder().glob("*.cu") for name in parse_kernels(path.name)}
    assert {kernel for case in cases("float32") for kernel in case.kernels} == declared


# Elements that are read or written, and bytes beside them, for float32.
BYTES = {
    "bias_activation relu": 4 * (2 * ELEMENTS + WIDTH),
    "bias_activation gelu": 4 * (3 * ELEMENTS + WIDTH),
    "bias_activation_dropout relu": 4 * (3 * ELEMENTS + WIDTH),
    "bias_activation_dropout gelu": 4 * (4 * ELEMENTS + WIDTH),
    "activation_gradient relu": 4 * 3 * ELEMENTS,
    "activation_gradient gelu": 4 * 3 * ELEMENTS,
    "activation_gradient_dropout relu": 4 * 3 * ELEMENTS,
    "activation_gradient_dropout gelu": 4 * 4 * ELEMENTS,
    "column_sums": 4 * (ELEMENTS + WIDTH),
    "summed_loss squared_error": 4 * (3 * ELEMENTS + 4 * ROWS + 1),
    "summed_loss binary_cross_entropy": 4 * (3 * ELEMENTS + 4 * ROWS + 1),
    "softmax_of_labels": 4 * (2 * ELEMENTS + 4 * ROWS + 1) + 8 * ROWS,
    "softmax_of_probabilities": 4 * (3 * ELEMENTS + 4 * ROWS + 1),
    "sgd": 4 * 3 * ELEMENTS + 64,
    "sgd_momentum": 4 * 5 * ELEMENTS + 64,
    "rmsprop": 4 * 5 * ELEMENTS + 64,
    "rmsprop_momentum": 4 * 7 * ELEMENTS + 64,
    "adagrad": 4 * 5 * ELEMENTS + 64,
    "adam": 4 * 7 * ELEMENTS + 64,
    "lion": 4 * 5 * ELEMENTS + 64,
    "clip_global_norm": 4 * (3 * ELEMENTS + 3),
    "l2_penalty": 4 * 3 * ELEMENTS,
    "unscale_gradients": 4 * 2 * ELEMENTS,
    "to_factors": (4 + 2) * ELEMENTS,
    "gather_rows": 4 * 2 * ELEMENTS + 8 * ROWS,
    "gather_batch": 4 * 2 * ELEMENTS + 8 * ROWS + 8,
    "row_shares": 4 * (2 * ROWS + 1),
    "set_clock": 64,
    "load_clock": 8 + 64 + 64,
    "end_step": 4 + 4 + 8 + 8,
}


def test_bytes_are_counted_once_for_each_read_and_each_write(cases: Any) -> None:
    assert {case.name: case.bytes for case in cases("float32")} == BYTES


# With factors of two bytes, and a table and sums of four.
BYTES_IN_BF16 = {
    "bias_activation relu": 2 * (2 * ELEMENTS + WIDTH),
    "bias_activation gelu": 2 * (3 * ELEMENTS + WIDTH),
    "bias_activation_dropout relu": 2 * (3 * ELEMENTS + WIDTH),
    "bias_activation_dropout gelu": 2 * (4 * ELEMENTS + WIDTH),
    "activation_gradient relu": 2 * 3 * ELEMENTS,
    "activation_gradient gelu": 2 * 3 * ELEMENTS,
    "activation_gradient_dropout relu": 2 * 3 * ELEMENTS,
    "activation_gradient_dropout gelu": 2 * 4 * ELEMENTS,
    "column_sums": 2 * ELEMENTS + 4 * WIDTH,
    "gather_rows": (4 + 2) * ELEMENTS + 8 * ROWS,
    "gather_batch": (4 + 2) * ELEMENTS + 8 * ROWS + 8,
}


def test_in_bf16_there_are_the_kernels_that_know_it(cases: Any, spy: Spy) -> None:
    spy.templates.clear()
    made = cases("bf16")
    assert {case.name: case.bytes for case in made} == BYTES_IN_BF16
    for case in made:
        case.work()
    assert all("bf16" in name for name in spy.templates)


def test_sums_in_parts_are_float32(cases: Any, spy: Spy) -> None:
    spy.templates.clear()
    (sums,) = (case for case in cases("bf16", rows=5000) if case.name == "column_sums")
    sums.work()
    assert spy.templates == {"column_sums<bf16, float>", "column_sums<float, float>"}


def measured(make: Callable[[], Case], seconds: float = 100.0) -> dict[str, Any]:
    notes = Notes(None, seconds, lambda line: None)

    def timer(work: Callable[[], None]) -> Timing:
        work()
        return Timing(2e-3, "graph")

    kernels.measure_cases(notes, "kernels", make, timer, (ROWS, WIDTH), "float32", 1000)
    return notes.results


def test_a_row_has_the_rate(cases: Any) -> None:
    adam = next(case for case in cases("float32") if case.name == "adam")
    (row,) = measured(lambda: adam)["kernels"]
    assert row["bytes_per_s"] == BYTES["adam"] / 2e-3
    assert row["in_cache"] is False
    assert "flop_per_s" not in row
    product = next(product_cases(np, DotProducts(np), (5, 3, 4), "float32"))()
    (row,) = measured(lambda: product)["kernels"]
    assert row["flop_per_s"] == 120 / 2e-3


def test_a_case_that_fails_or_comes_too_late_is_recorded() -> None:
    def broken() -> Case:
        raise MemoryError("no room")

    assert measured(broken)["failures"][0]["failed"] == "MemoryError: no room"
    assert "no time left" in measured(broken, 0.0)["skipped"][0]


def test_the_largest_size_leaves_room_on_a_small_device() -> None:
    for free in (1 << 30, 80 << 30):
        *small, (rows, width) = kernels.shapes_for(free)
        assert small == list(kernels.SMALL_SHAPES)
        assert rows * width * 8 * 7 <= free
    assert kernels.shapes_for(80 << 30)[-1] == (1 << 14, 1 << 12)


def test_scattered_numbers_fill_the_whole_array() -> None:
    values = scattered(np, (300, 301), "float32")
    assert values.shape == (300, 301)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert not (values == scattered(np, (300, 301), "float32", 1)).any()
    halves = scattered(np, (300, 301), types_of("bf16").factors)
    assert halves.dtype.name == "bfloat16"
    np.testing.assert_array_equal(halves.astype(np.float32)[:99], values[:99].astype(halves.dtype))


class FakeCuda:
    """Events on a clock that work moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        cuda = self

        class Event:
            def record(self) -> None:
                self.at = cuda.now

            def synchronize(self) -> None:
                pass

        stream = SimpleNamespace(synchronize=lambda: None)
        self.cuda = SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda a, b: (b.at - a.at) * 1e3,
            get_current_stream=lambda: stream,
        )

    def work(self) -> None:
        self.now += 1e-4


@pytest.mark.parametrize("how", ["graph", "launches"])
def test_the_timer_divides_by_the_repetitions_of_a_graph(how: str) -> None:
    fake, captured = FakeCuda(), []

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        captured.append(work)
        return work

    timing = CudaTimer(fake, capture if how == "graph" else None)(fake.work)
    assert timing.seconds == pytest.approx(1e-4)
    assert timing.how == how
    assert len(captured) == (how == "graph")


def test_the_timer_says_why_nothing_was_captured() -> None:
    def refuse(work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("not permitted")

    fake = FakeCuda()
    timing = CudaTimer(fake, refuse)(fake.work)
    assert timing.how == "launches (RuntimeError: not permitted)"
    assert timing.seconds == pytest.approx(1e-4)


def test_no_file_is_long() -> None:
    folder = Path(kernels.__file__).parent
    assert {path.name for path in folder.glob("*.py") if len(path.read_text().splitlines()) >= 300} == set()
