"""Rows that are held out by a random number each."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.data.drawn_split import SAMPLE, TEST, TRAIN, VALIDATION, DrawnSplit


def test_a_row_has_the_same_number_however_rows_are_read() -> None:
    split = DrawnSplit(7, 0.1, 0.2)
    whole = split.numbers(0, 1000)
    for first, count in ((0, 1), (1, 1), (3, 7), (4, 4), (998, 2), (5, 995)):
        assert np.array_equal(split.numbers(first, count), whole[first : first + count])
    assert (whole >= 0).all()
    assert (whole < 1).all()


def test_the_numbers_are_numpys_philox() -> None:
    """Written out: 53 of 64 bits, of the generator whose key is the seed and the stream."""
    key = np.array([2**64 - 1, 0x73706C6974], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=0)).random(64)
    # `random` shifts by 11 bits as well; its counter is advanced before the first draw, as ours is.
    assert np.array_equal(DrawnSplit(2**64 - 1, 0.1, 0.1).numbers(0, 64), expected)


def test_another_seed_gives_another_split() -> None:
    assert not np.array_equal(DrawnSplit(0, 0.1, 0.1).numbers(0, 50), DrawnSplit(1, 0.1, 0.1).numbers(0, 50))


def test_parts_have_their_shares() -> None:
    split = DrawnSplit(3, 0.2, 0.1)
    parts = split.parts(split.numbers(0, 200_000))
    shares = np.bincount(parts, minlength=4) / len(parts)
    assert shares[[TRAIN, VALIDATION, TEST, SAMPLE]] == pytest.approx([0.0, 0.2, 0.1, 0.7], abs=0.005)


def test_limited_parts_are_within_those_before_and_the_rest_trains() -> None:
    split = DrawnSplit(3, 0.2, 0.1)
    small = split.at_most(0.05)
    numbers = split.numbers(0, 100_000)
    before, after = split.parts(numbers), small.parts(numbers)
    shares = np.bincount(after, minlength=4) / len(after)
    assert shares[[TRAIN, VALIDATION, TEST, SAMPLE]] == pytest.approx([0.85, 0.05, 0.05, 0.05], abs=0.005)
    held_out = after != TRAIN
    assert np.array_equal(after[held_out], before[held_out])
    assert small.at_most(0.5) == small


def test_no_share_is_no_row() -> None:
    split = DrawnSplit(0, 0.0, 0.0)
    assert (split.parts(split.numbers(0, 1000)) == SAMPLE).all()
    assert (split.parts(np.array([0.0])) == SAMPLE).all()
    assert (split.at_most(0.0).parts(split.numbers(0, 1000)) == TRAIN).all()
