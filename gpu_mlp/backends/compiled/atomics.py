"""What threads tell each other through a number in memory: operations that none of them sees half done."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["add_at", "exchanged_at", "load_at", "pause", "store_at"]

WORD = ir.IntType(64)
ALIGN = 8
# LLVM's name of the instruction that tells a processor of a loop that waits, and its argument.
ON_X86: tuple[str, list[int]] = ("llvm.x86.sse2.pause", [])
ON_ARM: tuple[str, list[int]] = ("llvm.aarch64.hint", [1])
PAUSES = {"x86_64": ON_X86, "amd64": ON_X86, "aarch64": ON_ARM, "arm64": ON_ARM}


def _word_at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, WORD.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load_at(typing_context: Any, address: Any) -> Any:
    """The number at the address; what its writer wrote before it is seen after it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_word_at(builder, values[0]), "acquire", ALIGN)

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_at(typing_context: Any, address: Any, value: Any) -> Any:
    """Write the number to the address; who reads it sees what was written before."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[1], _word_at(builder, values[0]), "seq_cst", ALIGN)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_at(typing_context: Any, address: Any, value: Any) -> Any:
    """Add to the number at the address."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.atomic_rmw("add", _word_at(builder, values[0]), values[1], "acq_rel")
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def exchanged_at(typing_context: Any, address: Any, expected: Any, value: Any) -> Any:
    """Write the number where the expected one stands; whether it did."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        where = _word_at(builder, values[0])
        pair = builder.cmpxchg(where, values[1], values[2], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def pause(typing_context: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if (known := PAUSES.get(platform.machine().lower())) is not None:
            name, given = known
            numbers = [ir.Constant(ir.IntType(32), each) for each in given]
            kind = ir.FunctionType(ir.VoidType(), [each.type for each in numbers])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), numbers)
        return context.get_dummy_value()

    return types.void(), generate
