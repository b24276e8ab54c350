"""Epoch order and dropout as functions of the seed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from gpu_mlp.backends.base import Ops
from gpu_mlp.learning.randomness import allocate_dropouts, epoch_order, philox_key
from tests.backends.test_philox import philox


@pytest.mark.parametrize("rows", [1, 2, 3, 31, 32, 33, 127, 1009])
def test_an_epoch_order_is_a_permutation(rows: int) -> None:
    for epoch in (1, 2, 1000):
        order = epoch_order(7, epoch, rows)
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(rows))


def test_the_same_seed_and_epoch_give_the_same_order() -> None:
    np.testing.assert_array_equal(epoch_order(7, 3, 127), epoch_order(7, 3, 127))


@pytest.mark.parametrize("other", [(7, 4), (8, 3), (7 + 2**32, 3), (2**64 - 1, 3)])
def test_another_seed_or_epoch_gives_an_unrelated_order(other: tuple[int, int]) -> None:
    """Ranks correlate by less than five standard deviations."""
    first, second = epoch_order(7, 3, 1009), epoch_order(*other, 1009)
    assert abs(scipy.stats.spearmanr(first, second).statistic) < 5 / 1009**0.5


def test_every_order_is_equally_likely() -> None:
    """All 24 permutations of 4 rows over 12,000 epochs: chi-square with 23 degrees of freedom."""
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(12_000):
        order = tuple(int(row) for row in epoch_order(0, epoch, 4))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_every_row_stands_everywhere_equally_often() -> None:
    """Where row 0 of 97 stands over 9,700 epochs."""
    places = [int(np.flatnonzero(epoch_order(3, epoch, 97) == 0)[0]) for epoch in range(9_700)]
    assert scipy.stats.chisquare(np.bincount(places, minlength=97)).pvalue > 1e-4


def test_rows_stand_in_the_order_of_their_64_bit_numbers() -> None:
    """Row i has words 2i and 2i + 1 of stream (epoch, 2^31), the low word first, on every machine."""
    seed, epoch = 5 + (6 << 32), 11

    def number(row: int) -> int:
        block = philox((row // 2, 0, epoch, 2**31), (5, 6))
        low, high = block[2 * (row % 2) : 2 * (row % 2) + 2]
        return low | high << 32

    assert epoch_order(seed, epoch, 33).tolist() == sorted(range(33), key=number)


@pytest.mark.parametrize(
    ("seed", "key"), [(0, (0, 0)), (1, (1, 0)), (2**32, (0, 1)), (2**64 - 1, (2**32 - 1, 2**32 - 1))]
)
def test_a_seed_of_64_bits_makes_two_key_words(seed: int, key: tuple[int, int]) -> None:
    assert philox_key(seed) == key


def test_every_hidden_layer_gets_its_own_dropout(ops: Ops) -> None:
    dropouts = allocate_dropouts(ops, (3, 5, 7, 2), 11, "float32", rate=0.5, seed=9)
    assert [dropout.layer for dropout in dropouts if dropout is not None] == [0, 1]
    for dropout, width in zip(dropouts, (5, 7), strict=True):
        assert dropout is not None
        assert dropout.kept.shape == (11, width)
        assert dropout.multiplier.shape == (0 if ops.draws_masks else 11, width)
        assert dropout.key == philox_key(9)
        assert dropout.kept.dtype == np.float32


def test_without_a_rate_there_is_no_dropout(ops: Ops) -> None:
    assert allocate_dropouts(ops, (3, 5, 7, 2), 11, "float32", rate=0.0, seed=9) == [None, None]
    assert allocate_dropouts(ops, (3, 2), 11, "float32", rate=0.5, seed=9) == []


def test_orders_of_following_epochs_are_unrelated() -> None:
    orders = [epoch_order(0, epoch, 1009) for epoch in range(1, 20)]
    for first, second in pairwise(orders):
        assert abs(scipy.stats.spearmanr(first, second).statistic) < 5 / 1009**0.5
