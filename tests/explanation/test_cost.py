"""Multiplications counted, against a back-propagation that counts every one of its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gpu_mlp.explanation.cost import cost_of


class Counter:
    """Multiplies, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def times(self, one: float, other: float) -> float:
        self.count += 1
        return one * other


def reused(sizes: tuple[int, ...]) -> int:
    """Every bracket once: loops over single numbers."""
    multiply = Counter()
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(o, i)) for i, o in pairwise(sizes)]
    h = [rng.normal(size=i) for i in sizes[:-1]]
    slopes = [rng.normal(size=i) for i in sizes[1:-1]]
    dl_df = rng.normal(size=sizes[-1])
    for k in range(len(weights) - 1, -1, -1):
        for o in range(len(dl_df)):
            for i in range(len(h[k])):
                multiply.times(dl_df[o], h[k][i])
        if k > 0:
            dl_dh = [
                sum(multiply.times(w, d) for w, d in zip(column, dl_df, strict=True))
                for column in weights[k].T
            ]
            dl_df = np.array(
                [multiply.times(slope, d) for slope, d in zip(slopes[k - 1], dl_dh, strict=True)]
            )
    return multiply.count


def chain(sizes: tuple[int, ...], k: int, *, bias: bool) -> int:
    """One derivative in layer k, from dL/df_K down: whole brackets above it, and of its own layer one element."""
    multiply = Counter()
    for layer in range(len(sizes) - 2, k + 1, -1):
        outputs, inputs = sizes[layer + 1], sizes[layer]
        for _ in range(inputs):
            for _ in range(outputs):
                multiply.times(1.0, 1.0)
            multiply.times(1.0, 1.0)  # a'
    if k + 1 < len(sizes) - 1:
        for _ in range(sizes[k + 2]):
            multiply.times(1.0, 1.0)
        multiply.times(1.0, 1.0)  # a'
    if not bias:
        multiply.times(1.0, 1.0)  # h
    return multiply.count


@pytest.mark.parametrize("sizes", [(2, 4, 7, 3, 2), (1, 1), (5, 3), (3, 1, 4, 1, 5), (8, 8, 8)])
def test_what_is_counted_is_what_loops_count(sizes: tuple[int, ...]) -> None:
    cost = cost_of(sizes)
    assert cost.forward == sum(i * o for i, o in pairwise(sizes))
    assert cost.backward == reused(sizes)
    assert cost.one_by_one == sum(
        outputs * (inputs * chain(sizes, k, bias=False) + chain(sizes, k, bias=True))
        for k, (inputs, outputs) in enumerate(pairwise(sizes))
    )
    assert cost.parameters == sum(o * (i + 1) for i, o in pairwise(sizes))
    assert cost.differences == 2 * cost.parameters * cost.forward


def test_the_textbooks_network_by_hand() -> None:
    """63 weights; back once more each, and 55 of them and 14 slopes for dL/dh and dL/df below the top."""
    cost = cost_of((2, 4, 7, 3, 2))
    assert (cost.parameters, cost.forward, cost.backward) == (79, 63, 63 + 55 + 14)
    assert (cost.for_weights, cost.for_units, cost.for_slopes) == (63, 55, 14)
    assert cost.factor == cost.one_by_one / 132
