"""Ceilings and floors, on a clock that tells what it is told, and with numbers that can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_mlp.benchmark import limits
from gpu_mlp.benchmark.cases import PROBLEMS, Case, Problem
from gpu_mlp.benchmark.limits import Ceilings, Floor, floor_of, measure_ceilings

SMALL: Any = Problem("odd", (2, 3, 4), 16)
# 1 GFLOP/s for small products and 10 for large ones; 1 GB/s in a cache of 1 kB and 0.1 beyond it; 1 us a call.
CEILINGS = Ceilings({"float32": {64: 1e9, 1024: 1e10}}, {1000: 1e9, 10**9: 1e8}, 1e-6)


def test_the_floor_of_a_small_step_by_hand() -> None:
    """5 rows: 90 + 60 + 90 multiplications; (9 + 16) parameters 8 times and 45 units twice; 11 calls."""
    floor = floor_of(Case(SMALL, 5, "float32", "step"), CEILINGS)
    assert floor == Floor(2 * 240 / 1e9, 4 * (25 * 8 + 90) / 1e8, 11e-6)
    assert floor.binds == "memory"
    assert floor.seconds == floor.memory


def test_the_floor_of_an_inference_by_hand() -> None:
    floor = floor_of(Case(SMALL, 5, "float32", "inference"), CEILINGS)
    assert floor == Floor(2 * 90 / 1e9, 4 * (25 + 45) / 1e9, 4e-6)
    assert floor.binds == "calls"


def test_large_products_have_the_rate_of_large_ones() -> None:
    case = Case(PROBLEMS["wide"], 4096, "float32", "step")
    floor = floor_of(case, CEILINGS)
    assert floor is not None
    assert floor.compute == 2 * case.multiplications / 1e10
    assert floor.binds == "compute"


def test_what_was_not_measured_has_no_floor() -> None:
    assert floor_of(Case(SMALL, 5, "float64", "step"), CEILINGS) is None


def test_ceilings_are_work_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call takes a millisecond, whatever it does: the clock is moved by what is called."""
    now = [0.0]

    def work(*_: Any, **__: Any) -> None:
        now[0] += 1e-3

    for name in ("matmul", "copyto", "negative"):
        monkeypatch.setattr(np, name, work)
    found = measure_ceilings(("float32",), lambda: now[0])
    assert found.products["float32"] == pytest.approx({n: 2e3 * n**3 for n in limits.PRODUCT_SIZES})
    assert found.copies == pytest.approx({count: 1e3 * count for count in limits.COPIED_BYTES})
    assert found.call_seconds == pytest.approx(1e-3)
    assert set(found.document()) == {"products", "copies", "call_seconds"}
