"""Philox4x32-10, the counter-based generator: number i of a stream is a function of (key, counter i).

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The same constants and
rounds as cuRAND's, so a CUDA kernel that knows key and counter draws the same bits.
"""

from __future__ import annotations

from typing import Any

from gpu_mlp.backends.records import Array, Dropout, PhiloxBuffers

__all__ = ["allocate_philox", "draw_bits", "draw_dropout_multiplier"]

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
LOW_32_BITS = 0xFFFFFFFF


def allocate_philox(xp: Any, count: int, first: int = 0) -> PhiloxBuffers:
    """Memory for drawing `count` numbers of a stream from number `first` on, a multiple of 4."""
    blocks = -(-count // 4)
    return PhiloxBuffers(
        first=first,
        blocks=xp.arange(first // 4, first // 4 + blocks, dtype=xp.uint64),
        counters=[xp.empty(blocks, xp.uint64) for _ in range(4)],
        products=[xp.empty(blocks, xp.uint64) for _ in range(2)],
        bits=xp.empty((blocks, 4), xp.uint32),
    )


def draw_bits(xp: Any, buffers: PhiloxBuffers, key: tuple[int, int], stream: tuple[int, int]) -> Array:
    """Fill `buffers.bits` with the numbers of counters (block low, block high, stream[0], stream[1]).

    Key and stream are pairs of 32-bit words; a stream holds 2^66 numbers. Returns the (blocks, 4) array of
    uint32, in which number i of the stream, counted from the first that is drawn, stands at flat position i.
    """
    c0, c1, c2, c3 = buffers.counters
    p0, p1 = buffers.products
    xp.bitwise_and(buffers.blocks, LOW_32_BITS, out=c0)
    xp.right_shift(buffers.blocks, 32, out=c1)
    c2.fill(stream[0])
    c3.fill(stream[1])
    k0, k1 = key
    for _ in range(ROUNDS):
        xp.multiply(c0, MULTIPLIERS[0], out=p0)
        xp.multiply(c2, MULTIPLIERS[1], out=p1)
        xp.right_shift(p1, 32, out=c0)
        xp.bitwise_xor(c0, c1, out=c0)
        xp.bitwise_xor(c0, k0, out=c0)
        xp.bitwise_and(p1, LOW_32_BITS, out=c1)
        xp.right_shift(p0, 32, out=c2)
        xp.bitwise_xor(c2, c3, out=c2)
        xp.bitwise_xor(c2, k1, out=c2)
        xp.bitwise_and(p0, LOW_32_BITS, out=c3)
        k0 = (k0 + KEY_INCREMENTS[0]) & LOW_32_BITS
        k1 = (k1 + KEY_INCREMENTS[1]) & LOW_32_BITS
    for lane, counter in enumerate(buffers.counters):
        buffers.bits[:, lane] = counter
    return buffers.bits


def draw_dropout_multiplier(xp: Any, dropout: Dropout) -> None:
    """0 where a unit is dropped, 1 / (1 - rate) where it is kept; drawn once a step, from (key, step, layer).

    Unit i of the (B, D) layer is kept where its 32-bit number is at least rate * 2^32.
    """
    if dropout.drawn_step == dropout.step:
        return
    multiplier = dropout.multiplier
    bits = draw_bits(xp, dropout.scratch, dropout.key, (dropout.step & LOW_32_BITS, dropout.layer))
    threshold = round(dropout.rate * 2**32)
    xp.greater_equal(bits.reshape(-1)[: multiplier.size].reshape(multiplier.shape), threshold, out=multiplier)
    xp.multiply(multiplier, 1.0 / (1.0 - dropout.rate), out=multiplier)
    dropout.drawn_step = dropout.step
