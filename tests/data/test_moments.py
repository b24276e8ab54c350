"""Moments of numbers that come some at a time are those of all of them."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest

from gpu_mlp.data.features import mean_and_scale
from gpu_mlp.data.moments import Moments


def in_parts(values: np.ndarray, sizes: list[int]) -> Moments:
    return reduce(add, map(Moments.of, np.split(values, np.cumsum(sizes))), Moments())


@pytest.mark.parametrize("sizes", [[], [1], [0, 5], [100, 0, 1], [7] * 100, [999]])
@pytest.mark.parametrize(
    ("location", "spread"), [(0.0, 1.0), (1e6, 1e-3), (-3.0, 1e30), (0.0, 1e-200), (1e37, 1e36), (5.0, 0.0)]
)
def test_they_are_those_of_all_numbers(location: float, spread: float, sizes: list[int]) -> None:
    values = location + spread * np.random.default_rng(0).normal(size=1000)
    found = in_parts(values, sizes)
    assert (found.count, found.smallest, found.largest) == (1000, values.min(), values.max())
    assert found.mean_and_scale == pytest.approx(mean_and_scale(values), rel=1e-7)


def test_a_worked_example() -> None:
    found = in_parts(np.array([2.0, 4, 4, 4, 5, 5, 7, 9]), [3, 2])
    assert found.mean_and_scale == pytest.approx((5.0, 2.0), rel=1e-15)


def test_repeated_is_what_it_says() -> None:
    values = np.array([1.0, 2.0, 4.0])
    both = Moments.of(values) + Moments.repeated(3.0, 5)
    assert both.mean_and_scale == pytest.approx(mean_and_scale(np.append(values, [3.0] * 5)), rel=1e-14)
    assert Moments.repeated(3.0, 0) == Moments()


def test_a_constant_has_itself_and_1() -> None:
    third = np.full(10, 1 / 3)
    assert in_parts(third, [3, 4]).mean_and_scale == (1 / 3, 1.0)


def test_a_forgotten_distance_between_the_means_would_be_seen() -> None:
    """The negative control."""
    a, b = Moments.of(np.array([0.0, 1, 0, 1, 0])), Moments.of(np.full(5, 10.0))
    assert (a + b).mean_and_scale[1] != pytest.approx(np.sqrt(a.squares * a.unit**2 / 10), rel=0.5)
