"""exp and its like in operations that a compiler makes vectors of; the C library's take one number at a time.

With n = round(x / log 2) and r = x - n log 2, |r| <= log(2) / 2:

    exp x = 2^n + 2^n (exp r - 1),    exp r - 1 = r + r^2 / 2! + r^3 / 3! + ...

where the first 7 terms of the series suffice for float32 and 13 for float64 (Cody and Waite, 1980).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from gpu_mlp.backends.compiled.machine_code import like, loop_formula

__all__ = ["exp", "expm1", "sigmoid", "tanh"]

LOG2_E = 1.4426950408889634
LOG2_E_32 = np.float32(LOG2_E)
# log 2 in two parts, of which the first has so few bits that its product with n is exact.
LOG_2_HIGH_32, LOG_2_LOW_32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
LOG_2_HIGH_64, LOG_2_LOW_64 = 6.93145751953125e-1, 1.42860682030941723212e-6
# Added to a number, 1.5 * 2^(bits of the mantissa) leaves its rounded value in the lowest bits.
ROUND_32, ROUND_64 = np.float32(12582912.0), 6755399441055744.0
# Where 2^n is a normal number.
LOWEST_32, HIGHEST_32 = np.float32(-87.3365), np.float32(88.37)
LOWEST_64, HIGHEST_64 = -708.3964, 709.43
FACTORIALS = tuple(1.0 / np.prod(np.arange(1.0, k + 1)) for k in range(14))
T1, T2, T3, T4, T5, T6, T7 = (np.float32(term) for term in FACTORIALS[1:8])
_, D1, D2, D3, D4, D5, D6, D7, D8, D9, D10, D11, D12, D13 = FACTORIALS


@intrinsic  # type: ignore[untyped-decorator]
def _cast(typing_context: Any, value: Any) -> Any:
    """The same bits as a number of the other kind: float32 and int32, float64 and int64."""
    kinds = {
        types.float32: (types.int32, ir.IntType(32)),
        types.int32: (types.float32, ir.FloatType()),
        types.float64: (types.int64, ir.IntType(64)),
        types.int64: (types.float64, ir.DoubleType()),
    }
    kind, code = kinds[value]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], code)

    return kind(value), generate


def _parts(x: Any) -> Any:
    """2^n and exp(r) - 1, for an x between LOWEST and HIGHEST."""
    raise NotImplementedError  # Numba takes one of the two below, by the type of x


@overload(_parts)  # type: ignore[untyped-decorator]
def _parts_of_type(x: Any) -> Any:
    def parts_32(x: Any) -> Any:
        shifted = x * LOG2_E_32 + ROUND_32
        n = shifted - ROUND_32
        r = (x - n * LOG_2_HIGH_32) - n * LOG_2_LOW_32
        q = r * (T1 + r * (T2 + r * (T3 + r * (T4 + r * (T5 + r * (T6 + r * T7))))))
        return _cast(np.int32((_cast(shifted) << 23) + (127 << 23))), q

    def parts_64(x: Any) -> Any:
        shifted = x * LOG2_E + ROUND_64
        n = shifted - ROUND_64
        r = (x - n * LOG_2_HIGH_64) - n * LOG_2_LOW_64
        tail = D7 + r * (D8 + r * (D9 + r * (D10 + r * (D11 + r * (D12 + r * D13)))))
        q = r * (D1 + r * (D2 + r * (D3 + r * (D4 + r * (D5 + r * (D6 + r * tail))))))
        return _cast((_cast(shifted) << 52) + (1023 << 52)), q

    return parts_32 if x == types.float32 else parts_64


def _limits(x: Any) -> Any:
    """The lowest and the highest number whose `_parts` are right."""
    raise NotImplementedError  # as above


@overload(_limits)  # type: ignore[untyped-decorator]
def _limits_of_type(x: Any) -> Any:
    def limits_32(x: Any) -> Any:
        return LOWEST_32, HIGHEST_32

    def limits_64(x: Any) -> Any:
        return LOWEST_64, HIGHEST_64

    return limits_32 if x == types.float32 else limits_64


@loop_formula
def exp(x: Any) -> Any:
    """exp x; 0 where that is no normal number, and infinity a little before it is too large (88.37, or 709.43)."""
    low, high = _limits(x)
    scale, q = _parts(min(max(x, low), high))
    value = scale + scale * q
    value = value if x >= low else like(x, 0.0)
    value = value if x <= high else like(x, np.inf)
    return value if x == x else x


@loop_formula
def expm1(x: Any) -> Any:
    """exp(x) - 1, as exact near 0 as elsewhere, for x <= 0."""
    low, _ = _limits(x)
    scale, q = _parts(max(x, low))
    value = scale * q + (scale - like(x, 1.0))
    return value if x == x else x


@loop_formula
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))"""
    one = like(x, 1.0)
    return one / (one + exp(-x))


@loop_formula
def tanh(x: Any) -> Any:
    """-e / (e + 2) with e = exp(-2 |x|) - 1, and the sign of x"""
    e = expm1(like(x, -2.0) * abs(x))
    value = -e / (e + like(x, 2.0))
    return value if x >= 0 else -value
