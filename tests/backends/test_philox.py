"""Philox4x32-10: the published known answers, an independent scalar version, and how numbers are laid out."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.reference import allocate_philox, draw_bits

# Random123's kat_vectors, lines `philox4x32 10`: counter, key, result.
KNOWN_ANSWERS = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def words(text: str) -> tuple[int, ...]:
    """32-bit words written in hexadecimal."""
    return tuple(int(word, 16) for word in text.split())


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The paper's ten rounds on Python's whole numbers."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        low0, high0 = (0xD2511F53 * a) & 0xFFFFFFFF, (0xD2511F53 * a) >> 32
        low1, high1 = (0xCD9E8D57 * c) & 0xFFFFFFFF, (0xCD9E8D57 * c) >> 32
        a, b, c, d = high1 ^ b ^ k0, low1, high0 ^ d ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def draw(ops: Ops, count: int, key: tuple[int, int], stream: tuple[int, int], first_block: int = 0) -> Array:
    """`count` numbers from the block `first_block` on."""
    buffers = allocate_philox(ops.xp, count)
    for array in (*buffers.counters, *buffers.products, buffers.bits):
        array.fill(99)
    buffers.blocks[...] += np.uint64(first_block)
    return np.array(ops.to_host(draw_bits(ops.xp, buffers, key, stream))).reshape(-1)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(ops: Ops, counter: str, key: str, answer: str) -> None:
    c0, c1, c2, c3 = words(counter)
    k0, k1 = words(key)
    drawn = draw(ops, 4, (k0, k1), (c2, c3), first_block=c0 | c1 << 32)
    assert tuple(int(bits) for bits in drawn) == words(answer)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_the_scalar_version_gives_the_known_answers_too(counter: str, key: str, answer: str) -> None:
    assert philox(words(counter), words(key)) == words(answer)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 127, 1001])
def test_number_i_is_lane_i_mod_4_of_block_i_div_4(ops: Ops, count: int) -> None:
    key, stream = (0xDEADBEEF, 5), (9, 0x80000000)
    drawn = draw(ops, count, key, stream)
    assert drawn.dtype == np.uint32
    assert len(drawn) == -(-count // 4) * 4
    for i in {0, 1, count // 2, count - 1}:
        assert drawn[i] == philox((i // 4, 0, *stream), key)[i % 4]


def test_the_block_number_has_64_bits(ops: Ops) -> None:
    """The low word carries into the high one."""
    drawn = draw(ops, 8, (1, 2), (3, 4), first_block=2**32 - 1)
    assert tuple(drawn[:4]) == philox((2**32 - 1, 0, 3, 4), (1, 2))
    assert tuple(drawn[4:]) == philox((0, 1, 3, 4), (1, 2))


def test_a_longer_draw_begins_with_the_shorter_one(ops: Ops) -> None:
    np.testing.assert_array_equal(draw(ops, 8, (1, 2), (3, 4)), draw(ops, 800, (1, 2), (3, 4))[:8])


def test_numbers_are_uniform(ops: Ops) -> None:
    """Every byte of 100,000 numbers: chi-square of 255 degrees of freedom within five deviations."""
    drawn = draw(ops, 100_000, (1, 2), (3, 4))
    for shift in (0, 8, 16, 24):
        counts = np.bincount((drawn >> np.uint32(shift)) & np.uint32(255), minlength=256)
        expected = len(drawn) / 256
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi_square - 255) < 5 * (2 * 255) ** 0.5


def test_drawing_again_gives_the_same_and_needs_no_fresh_memory(ops: Ops) -> None:
    buffers = allocate_philox(ops.xp, 33)
    first = draw_bits(ops.xp, buffers, (1, 2), (3, 4)).copy()
    draw_bits(ops.xp, buffers, (5, 6), (7, 8))
    again = draw_bits(ops.xp, buffers, (1, 2), (3, 4))
    assert again is buffers.bits
    np.testing.assert_array_equal(ops.to_host(first), ops.to_host(again))
