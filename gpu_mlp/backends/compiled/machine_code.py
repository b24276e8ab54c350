"""How Python becomes machine code, piece by piece: each loop is compiled by itself when a step first needs it.

A step calls its activations, its loss and its optimizer by their addresses, since all that there are, compiled with
it, would take Numba half a minute. What was compiled is kept in Numba's cache, in files of a function's name. Numba
would put all types and closures of one name into one file, which two processes may spoil for each other, and does not
notice a change of the functions that it calls: so every name tells what it is of, and a digest of these sources.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic, overload, register_jitable

__all__ = [
    "address_of",
    "array_type",
    "call",
    "callable_at",
    "entry_point",
    "like",
    "like_tiny",
    "loop_formula",
    "matrix_at",
    "numbers_at",
    "octets_at",
    "pointer_to",
    "prefetch",
    "sum_formula",
    "vector_at",
]

logger = logging.getLogger("gpu_mlp")

Formula = TypeVar("Formula", bound=Callable[..., Any])

# "contract" allows a multiplication and an addition to be one operation, and no other change of the sums.
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}


def loop_formula(formula: Formula) -> Formula:
    """The formula for loops, which are compiled with it in them."""
    known: Formula = register_jitable(**OPTIONS)(formula)
    return known


def sum_formula(formula: Formula) -> Formula:
    """The same of a sum, whose terms may be added in an order that makes vectors of them."""
    options = OPTIONS | {"fastmath": {"contract", "reassoc"}}
    known: Formula = register_jitable(**options)(formula)
    return known


@cache
def sources_digest() -> str:
    """Of all files of this package, and of the reference, whose constants and `adam_constants` are compiled in."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*here.glob("*.py"), *here.with_name("reference").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def pointer_to(dtype: str) -> Any:
    """Of an address where numbers lie."""
    return types.CPointer(numba.from_dtype(np.dtype(dtype)))


def array_type(dtype: str, dimensions: int) -> Any:
    """Of a contiguous array that may be written to."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), dimensions, "C")


def entry_point(function: Callable[..., None], name: str, *arguments: Any) -> Callable[..., None]:
    """The function compiled now for arguments of these types, or read from the cache; calls release the GIL."""
    compiled: Callable[..., None] = _kept(numba.njit, function, name, types.void(*arguments), nogil=True)
    return compiled


def address_of(function: Callable[..., None], name: str, *arguments: Any) -> int:
    """Of the function compiled now for arguments of these types, which are numbers and pointers, for `call`."""
    compiled = _kept(numba.cfunc, function, name, types.void(*arguments))
    _alive.append(compiled)
    return int(compiled.address)


# Whose addresses are known.
_alive: list[Any] = []


@cache
def callable_at(address: int, *kinds: Any) -> Callable[..., None]:
    """What `address_of` gave, for calls from Python with numbers of ctypes' kinds; they release the GIL."""
    return ctypes.CFUNCTYPE(None, *kinds)(address)


def _kept(
    compile_: Callable[..., Any], function: Callable[..., None], name: str, signature: Any, **options: Any
) -> Any:
    function.__qualname__ = f"{name}_{sources_digest()[:16]}"
    try:
        return compile_(signature, cache=True, **OPTIONS, **options)(function)
    except (RuntimeError, OSError) as error:  # no folder to keep it in, or one that cannot be written to
        logger.info("a step is compiled again by the next process: %s", error)
        return compile_(signature, **OPTIONS, **options)(function)


@intrinsic  # type: ignore[untyped-decorator]
def call(typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call what lies at the address with a tuple of whole numbers, which pointers are too, and float64s."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        where, packed = values
        given = cgutils.unpack_tuple(builder, packed)
        function = ir.FunctionType(ir.VoidType(), [each.type for each in given])
        builder.call(builder.inttoptr(where, function.as_pointer()), given)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), generate


@intrinsic  # type: ignore[untyped-decorator]
def octets_at(typing_context: Any, address: Any) -> Any:
    """A pointer to what lies at the address."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any) -> Any:
    """Begin to bring what lies at the address into the caches, to be read."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number, octets = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [octets, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, kept_near, data = (ir.Constant(number, each) for each in (0, 3, 1))
        builder.call(function, [builder.inttoptr(values[0], octets), to_read, kept_near, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def numbers_at(typing_context: Any, address: Any, number: Any) -> Any:
    """A pointer to what lies at the address, which are numbers of the type of the one given."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(kind).as_pointer())

    kind = types.unliteral(number)
    return types.CPointer(kind)(types.int64, kind), generate


@loop_formula
def vector_at(address: int, size: int, number: Any) -> Any:
    """(size,) numbers of the type of the one given."""
    return carray(numbers_at(address, number), size)


@loop_formula
def matrix_at(address: int, rows: int, columns: int, number: Any) -> Any:
    """(rows, columns) numbers of the type of the one given."""
    return carray(numbers_at(address, number), (rows, columns))


def like(value: Any, constant: float) -> Any:
    """The constant in the type of the value: of a float32 and a whole number or a float Numba makes a float64."""
    return type(value)(constant)


@overload(like)  # type: ignore[untyped-decorator]
def _like_of_type(value: Any, constant: float) -> Any:
    def like_32(value: Any, constant: float) -> Any:
        return np.float32(constant)

    def like_64(value: Any, constant: float) -> Any:
        return np.float64(constant)

    return like_32 if value == types.float32 else like_64


def like_tiny(value: Any) -> Any:
    """The smallest normal number of the type of the value."""
    return np.finfo(type(value)).tiny


@overload(like_tiny)  # type: ignore[untyped-decorator]
def _tiny_of_type(value: Any) -> Any:
    tiny = np.finfo(np.float32 if value == types.float32 else np.float64).tiny

    def tiny_of_it(value: Any) -> Any:
        return tiny

    return tiny_of_it
