"""Indices past 2^31 and 2^32: the last blocks of launches whose arrays nobody has the memory for.

An array is memory that the system hands out when it is touched, and only the blocks that work at its end are run.
"""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.cuda_kernels import kernel_source
from tests.emulator import EmulatorError, Module, unavailable_reason

FLOAT32 = np.dtype(np.float32)
INDEX = re.compile(r"\blong long (n|b|pack|packs|thread|threads|rows)\b")
MAP_NORESERVE = 0x4000  # Linux's; Python's module has it only from 3.13 on


def sparse(*shape: int) -> Array:
    """Zeros of any size."""
    size = math.prod(shape) * FLOAT32.itemsize
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    except (OSError, AttributeError) as error:
        pytest.skip(f"this system gives no array of {size} bytes: {error}")
    return np.frombuffer(memory, FLOAT32).reshape(shape)


def function(file: str, name: str, change: Callable[[str], str]) -> Any:
    if (reason := unavailable_reason()) is not None:
        pytest.skip(reason)
    return Module(change(kernel_source(file)), filename=file, names=[name]).get_function(name)


def flat_pass(change: Callable[[str], str]) -> None:
    """`for_each` over 2^31 + 5 parameters, the last ones of which are no whole pack."""
    size = 2**31 + 5
    p, g = sparse(size), sparse(size)
    p[-13:], g[-13:] = 1.0, np.arange(13)
    clock, skip = np.array([0, 0.5, 1, 0, 0, 0, 0, 0]), np.zeros((), np.int32)
    blocks = -(-size // (4 * 256))
    sgd = function("optimizer.cu", "sgd<float>", change)
    # The tail's elements belong to the first threads of the grid, the last whole packs to the last.
    for first, count in ((0, 1), (blocks - 2, 2)):
        sgd((blocks,), (256,), (p, g, clock, skip, np.int64(size)), blocks=(first, count))
    np.testing.assert_array_equal(p[-13:], 1.0 - 0.5 * np.arange(13))


def rows_and_columns(change: Callable[[str], str]) -> None:
    """`for_each_row` to row 2^26 of 64 columns."""
    rows, width = 2**26 + 3, 64
    f, beta = sparse(rows, width), np.arange(width, dtype=np.float32)
    grid = (1, 65535)
    bias = function("activation.cu", "bias_activation<float, activation::identity>", change)
    last = (rows - 1) // 16 % grid[1]
    bias(grid, (16, 16), (beta, f, f, np.int64(rows), np.int32(width)), blocks=(last, 1))
    np.testing.assert_array_equal(f[-1], beta)
    np.testing.assert_array_equal(f[last * 16], beta)
    assert not f[last * 16 - 1].any()


def rows_by_index(change: Callable[[str], str]) -> None:
    """Rows that start past 2^32."""
    rows, width = 2**26 + 3, 65
    table = sparse(rows, width)
    table[-1], table[3] = 7.0, 5.0
    out = np.full((2, width), np.nan, np.float32)
    gather = function("rows.cu", "gather_rows<float, float>", change)
    index = np.array([rows - 1, 3])
    gather((1, 1), (128, 2), (table, index, out, np.int64(2), np.int32(width)))
    np.testing.assert_array_equal(out, np.repeat([[7.0], [5.0]], width, axis=1))


def sums_of_columns(change: Callable[[str], str]) -> None:
    """A row whose number times its width is past 2^31, and one that is not."""
    rows, width = 2**26 + 1, 33
    values = sparse(rows, width)
    parts = 2**16 - 1
    last = (rows - 1) // 4 % parts
    values[-1], values[last * 4] = np.arange(width), 1.0
    sums = sparse(parts, width)
    columns = function("bias_gradient.cu", "column_sums<float, float>", change)
    columns((1, parts), (64, 4), (values, sums, np.int64(rows), np.int32(width)), blocks=(last, 1))
    np.testing.assert_array_equal(sums[last], 1.0 + np.arange(width))


def rows_of_a_loss(change: Callable[[str], str]) -> None:
    """One row to a group of 32 threads, the last of 2^26 + 1."""
    rows, width = 2**26 + 1, 33
    f, y, share, row_loss, dl_df = (
        sparse(*shape) for shape in ((rows, width),) * 2 + ((rows,),) * 2 + ((rows, width),)
    )
    f[-1], y[-1], share[-1] = 3.0, 1.0, 0.5
    blocks = -(-rows // 8)
    loss = function("loss.cu", "summed_loss<float, loss::squared_error, false>", change)
    sizes = np.int32(32), np.int64(rows), np.int32(width)
    loss((blocks,), (256,), (f, y, share, row_loss, dl_df, np.float32(0), *sizes), blocks=(blocks - 1, 1))
    assert row_loss[-1] == 4.0 * width
    np.testing.assert_array_equal(dl_df[-1], np.full(width, 2.0))


PASSES = [flat_pass, rows_and_columns, rows_by_index, sums_of_columns, rows_of_a_loss]


@pytest.mark.parametrize("large", PASSES)
def test_the_end_of_an_array_past_32_bits_is_reached(large: Callable[[Callable[[str], str]], None]) -> None:
    large(lambda source: source)


@pytest.mark.parametrize("large", PASSES)
def test_indices_of_32_bits_would_be_seen(large: Callable[[Callable[[str], str]], None]) -> None:
    """The same kernels with `int` for every index."""

    def narrow(source: str) -> str:
        # Parameters keep their types, and so do the numbers of rows that are read.
        lines = source.splitlines(keepends=True)
        return "".join(
            line if "__global__" in line else INDEX.sub(r"int \1", line) for line in lines
        ).replace("index_b[b] * D", "int(index_b[b] * D)")

    with pytest.raises((AssertionError, EmulatorError)) as caught:
        large(narrow)
    assert "g++ refuses" not in str(caught.value)
