"""What one product of cuBLASLt computes, in NumPy: both matrices in the compute type, then the epilogue."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import ml_dtypes
import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.reference.precisions import rounding

__all__ = [
    "COMPUTE_TYPES",
    "TF32",
    "TYPES",
    "Epilogue",
    "Operation",
    "check_pointers",
    "multiply",
    "read_memory",
]

TYPES = {
    0: np.dtype(np.float32),
    1: np.dtype(np.float64),
    2: np.dtype(np.float16),
    14: np.dtype(ml_dtypes.bfloat16),
}
TF32 = 77
COMPUTE_TYPES = {68: np.dtype(np.float32), 70: np.dtype(np.float64), TF32: np.dtype(np.float32)}


class Epilogue(IntEnum):
    """The values of cublasLtEpilogue_t that the package uses."""

    DEFAULT = 1
    BIAS = 4
    RELU_BIAS = 6
    RELU_AUX_BIAS = 134
    DRELU = 136
    GELU_AUX_BIAS = 164
    DGELU = 192
    BGRADB = 512


def read_memory(pointer: int, dtype: Any, count: int = 1) -> Array:
    """The numbers at an address, where they lie."""
    size = np.dtype(dtype).itemsize * count
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype)


@dataclass
class Operation:
    """A matmul descriptor."""

    compute_type: int
    scale_type: int
    attributes: dict[int, int] = field(default_factory=dict)


ADDS_BIAS = (Epilogue.BIAS, Epilogue.RELU_BIAS, Epilogue.RELU_AUX_BIAS, Epilogue.GELU_AUX_BIAS)
KEEPS_ASIDE = (Epilogue.RELU_AUX_BIAS, Epilogue.DRELU, Epilogue.GELU_AUX_BIAS, Epilogue.DGELU)
SQRT_2_OVER_PI, CUBE = 0.7978845608028654, 0.044715


def check_pointers(epilogue: Epilogue, attributes: dict[int, int]) -> None:
    """The heuristic reads the alignment of an epilogue's memory off the pointers."""
    if epilogue in ADDS_BIAS or epilogue == Epilogue.BGRADB:
        assert attributes.get(8)
    if epilogue in KEEPS_ASIDE:
        assert attributes.get(11)
        assert attributes[11] % 16 == 0


def _signs(attributes: dict[int, int], shape: tuple[int, int]) -> Array:
    """The bits of every column, in bytes: as many to a column as its leading dimension, a multiple of 128, says."""
    rows, columns = shape
    leading = attributes[12]
    assert leading % 128 == 0
    assert leading >= rows
    assert attributes[11] % 16 == 0
    return read_memory(attributes[11], np.uint8, columns * leading // 8).reshape(columns, leading // 8)


def _columns(attributes: dict[int, int], like: Array) -> Array:
    """What an epilogue keeps beside D, in D's type."""
    leading = attributes[12]
    assert leading % 8 == 0
    assert attributes[11] % 16 == 0
    values = read_memory(attributes[11], like.dtype, leading * like.shape[1])
    return values.reshape(like.shape[1], leading).T[: like.shape[0]]


def _gelu(f: Array) -> Array:
    return 0.5 * f * (1 + np.tanh(SQRT_2_OVER_PI * (f + CUBE * f**3)))


def _gelu_gradient(f: Array) -> Array:
    t = np.tanh(SQRT_2_OVER_PI * (f + CUBE * f**3))
    return 0.5 * (1 + t) + 0.5 * f * (1 - t**2) * SQRT_2_OVER_PI * (1 + 3 * CUBE * f**2)


@np.errstate(all="ignore")  # a device does not warn of overflow
def multiply(description: Operation, left: Array, right: Array, out: Array) -> None:
    """out = left right in the compute type, with the epilogue, and rounded once where it is stored."""
    dtype, attributes = COMPUTE_TYPES[description.compute_type], description.attributes
    left, right = (each.astype(dtype) for each in (left, right))
    if description.compute_type == TF32:
        for each in (left, right):
            rounding(np, "tf32")(each)
    result = left @ right
    epilogue = Epilogue(attributes[7])
    if epilogue in ADDS_BIAS:
        result += read_memory(attributes[8], out.dtype, out.shape[0])[:, None].astype(dtype)
    if epilogue in (Epilogue.RELU_AUX_BIAS, Epilogue.DRELU):
        signs = _signs(attributes, out.shape)
        if epilogue == Epilogue.DRELU:
            result *= np.unpackbits(signs, axis=1, bitorder="little")[:, : len(out)].T
        else:
            signs[:, : -(-len(out) // 8)] = np.packbits(result.T > 0, axis=1, bitorder="little")
    if epilogue in (Epilogue.GELU_AUX_BIAS, Epilogue.DGELU):
        f = _columns(attributes, out)
        if epilogue == Epilogue.DGELU:
            result *= _gelu_gradient(f.astype(dtype))
        else:
            f[...] = result.astype(out.dtype)
            result = _gelu(result)
    if epilogue in (Epilogue.RELU_BIAS, Epilogue.RELU_AUX_BIAS):
        np.maximum(result, 0, out=result)
    if epilogue == Epilogue.BGRADB:  # over the inner dimension of op(B), one sum a column
        read_memory(attributes[8], out.dtype, out.shape[1])[...] = right.sum(axis=0)
    out[...] = result.astype(out.dtype)
