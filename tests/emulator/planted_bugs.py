"""Mistakes to plant in right kernels, and what each mode shows of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from tests.emulator import asarray, empty, examples, zeros
from tests.emulator.examples import Result, Runner, Setup

__all__ = ["BUGS", "SMALL_KERNELS", "UNSEEN", "WRONG", "Bug"]

WRONG, UNSEEN = "a wrong answer", "nothing"


@dataclass(frozen=True)
class Bug:
    """`edit` is what stands in the source and what takes its place, at the `nth` time it stands there.

    `check` and `fast` are patterns of what the modes show; the message of "check" names the line that holds `at`.
    """

    run: Runner
    file: str
    edit: tuple[str, str]
    check: str
    fast: str
    nth: int = 0
    at: str = ""
    before: tuple[str, str] = ("", "")  # another edit, made first

    def planted(self) -> str:
        """The source with the mistake in it."""
        source = examples.source_of(self.file)
        if self.before[0]:
            source = source.replace(*self.before)
        old, new = self.edit
        parts = source.split(old)
        assert len(parts) > self.nth + 1, f"{old!r} stands {len(parts) - 1} times in {self.file}"
        return old.join(parts[: self.nth + 1]) + new + old.join(parts[self.nth + 1 :])

    def line(self) -> str:
        """As the message names it."""
        lines = self.planted().splitlines()
        (number,) = (i for i, line in enumerate(lines, 1) if self.at in line)
        return f"{self.file}:{number}"


# Those that have no test of their own elsewhere.
SMALL_KERNELS = ("reverse.cu", "swap.cu", "count.cu", "add_up.cu")


def _reverse(setup: Setup) -> list[Result]:
    x, y = asarray(examples.normal(32)), empty(32)
    setup.function("reverse.cu", "reverse")((1,), (32,), (x, y), **setup.launch)
    return [Result(y, x[::-1], 0, 0)]


def _swap(setup: Setup) -> list[Result]:
    start = examples.normal(64)
    x = asarray(start)
    setup.function("swap.cu", "swap")((1,), (32,), (x,), 4 * 33, **setup.launch)
    return [Result(x, np.roll(start, 32), 0, 0)]


def _count(setup: Setup) -> list[Result]:
    counter = zeros(1, name="counter")
    setup.function("count.cu", "count")((4,), (64,), (counter,), **{"timeout": 0.2, **setup.launch})
    return [Result(counter, np.array([256.0]))]


def _add_up(setup: Setup) -> list[Result]:
    x, y = asarray(examples.normal(9)), empty(4)
    setup.function("add_up.cu", "add_up")((1,), (4,), (x, y, np.int32(9)), **setup.launch)
    return [Result(y, np.full(4, x.sum()))]


_reverse_bug = partial(Bug, _reverse, "reverse.cu")
_swap_bug = partial(Bug, _swap, "swap.cu")
_count_bug = partial(Bug, _count, "count.cu")
_add_up_bug = partial(Bug, _add_up, "add_up.cu")
_backward_bug = partial(Bug, examples.activation_backward, "activation_backward.cu")
_odd_backward_bug = partial(Bug, partial(examples.activation_backward, cols=31), "activation_backward.cu")
_bias_bug = partial(Bug, examples.bias_activation, "bias_activation.cu")
_odd_bias_bug = partial(Bug, partial(examples.bias_activation, cols=19), "bias_activation.cu")
_atomic_bug = partial(Bug, examples.sum_atomic, "activation_backward.cu")
_small_atomic_bug = partial(Bug, partial(examples.sum_atomic, shared_bytes=4 * 32), "activation_backward.cu")
_softmax_bug = partial(Bug, examples.softmax_cross_entropy, "softmax_cross_entropy.cu")
_tiny_bug = partial(Bug, examples.tiny_network, "tiny_network.cu")
_gemm_bug = partial(Bug, examples.gemm_bf16, "gemm_bf16.cu")
_grid_bug = partial(Bug, examples.normalise, "normalise.cu")
_pipeline_bug = partial(Bug, examples.pipeline, "pipeline.cu")
_last_bug = partial(Bug, examples.sum_by_last_block, "last_block.cu")
_spin_bug = partial(Bug, examples.spin_barrier, "spin_barrier.cu")

SYNC = "__syncthreads();"
FENCE = "    __threadfence();\n"
TILE_WRITE = "tile[threadIdx.y][threadIdx.x] = sum;"

UNWRITTEN = "read of shared memory that nobody has written"
RACE = r"data race \(.* write\) on shared memory|data race \(write after read\) on shared memory"
SHARED_RACE = f"{UNWRITTEN}|{RACE}"
GLOBAL_RACE = r"data race \((read after write|write after read|write after write)\) on global memory"
READ_TOO_EARLY = r"data race \(read after write\) on global memory"
OUT_OF_BOUNDS = "out-of-bounds {} of {} bytes"
SHARED_SPOILT = "shared memory written out of bounds"

_ORDER: dict[str, Bug] = {
    "no sync between write and read": _backward_bug((SYNC, ""), SHARED_RACE, WRONG, at="total += tile[k]"),
    "no sync after filling the tiles": _gemm_bug(
        (SYNC, ""), rf"({SHARED_RACE}).*ldmatrix at ptx.cuh:12", WRONG
    ),
    "no sync before filling the tiles again": _gemm_bug(
        (SYNC, ""), r"write after read\) on shared", WRONG, nth=1, at="tile_a[row][col] ="
    ),
    "no sync after zeroing": _tiny_bug((SYNC, ""), SHARED_RACE, WRONG),
    "no sync before the update": _tiny_bug((SYNC, ""), SHARED_RACE, WRONG, nth=1),
    "no sync after the update": _tiny_bug((SYNC, ""), SHARED_RACE, WRONG, nth=2),
    "no syncwarp": _reverse_bug(("__syncwarp();", ""), SHARED_RACE, WRONG, at="y[t] = s[31 - t]"),
    "no grid sync": _grid_bug(("grid.sync();", SYNC), GLOBAL_RACE, WRONG),
    "no wait for a copy": _pipeline_bug(
        ("cp_async_wait<1>();", ""), UNWRITTEN, WRONG, at="y[tile * 128 + i] ="
    ),
    "a wait that leaves too many copies open": _pipeline_bug(
        ("cp_async_wait<1>();", "cp_async_wait<2>();"), UNWRITTEN, WRONG, at="y[tile * 128 + i] ="
    ),
    "no fence before the ticket": _last_bug(
        (FENCE, ""), READ_TOO_EARLY, UNSEEN, at="total += partial[block]"
    ),
    "the fence before the write": _last_bug(
        ("    partial[blockIdx.x] =", "    __threadfence();  // too early\n    partial[blockIdx.x] ="),
        READ_TOO_EARLY,
        UNSEEN,
        before=(FENCE, ""),
        at="total += partial[block]",
    ),
    "no sync after the ticket": _last_bug(
        (f"{SYNC}  // is_last", ""), SHARED_RACE, UNSEEN, at="if (is_last && threadIdx.x == 0)"
    ),
    "no fence in a barrier of atomics": _spin_bug(
        (FENCE, ""), READ_TOO_EARLY, UNSEEN, at="sum += written[block]"
    ),
    "a lost update": _count_bug(
        ("atomicAdd(counter, 1.0f)", "counter[0] += 1.0f"), GLOBAL_RACE, UNSEEN, at="counter[0] +="
    ),
}

_MEETING: dict[str, Bug] = {
    "a grid sync that one block skips": _grid_bug(
        ("grid.sync();", "if (blockIdx.x) grid.sync();"),
        f"{READ_TOO_EARLY}|grid barrier not reached by all threads",
        r"grid barrier not reached by all threads: .* 128 threads wait at grid.sync at normalise.cu:20",
    ),
    "a barrier in two places": _backward_bug(
        (f"  {SYNC}", f"  if (threadIdx.x < 16)\n    {SYNC}  // A\n  else\n    {SYNC}  // B"),
        "divergent barrier: this thread is at __syncthreads",
        "divergent barrier: this thread is at __syncthreads",
        at=f"{SYNC}  // A",
    ),
    "a return before a barrier": _backward_bug(
        ("float sum = 0.0f;", "float sum = 0.0f; if (col >= cols) return;"),
        r"barrier not reached by all threads: .* 8 threads wait at __syncthreads at activation_backward.cu:23",
        r"barrier not reached by all threads: .* 8 threads wait at __syncthreads at activation_backward.cu:23",
    ),
    "a shuffle in a diverged warp": _softmax_bug(
        ("sum = warp_sum(sum);", "if (lane < cols) sum = warp_sum(sum);"),
        "__shfl_xor_sync at common.cuh:45.* (has|have) exited",
        "__shfl_xor_sync at common.cuh:45.* (has|have) exited",
    ),
    "a mask that names lanes that have exited": _softmax_bug(
        ("if (row >= rows) return;", "if (row >= rows || lane >= 20) return;"),
        "__shfl_xor_sync at common.cuh:51.*mask ffffffff.* (has|have) exited",
        "__shfl_xor_sync at common.cuh:51.*mask ffffffff.* (has|have) exited",
    ),
    "a mask without the caller": _reverse_bug(
        ("__syncwarp();", "__syncwarp(0xffff);"),
        f"mask 0000ffff does not name the calling lane|{UNWRITTEN}",
        "__syncwarp at reverse.cu:6: mask 0000ffff does not name the calling lane",
    ),
    "an endless loop": _count_bug(
        ("atomicAdd(counter, 1.0f);", "volatile float* flag = counter;\n  while (*flag == 0.0f) {\n  }"),
        "launch timed out: endless loop?",
        r"launch timed out: endless loop\?  \[count.cu:4",
    ),
}

_MEMORY: dict[str, Bug] = {
    "shared memory that is not zeroed": _atomic_bug(
        ("sums[col] = 0.0f;", ";"), UNWRITTEN, WRONG, at="atomicAdd(&sums[i % cols]"
    ),
    "a dynamic array too small by one": _small_atomic_bug(
        ("sums[col] = 0.0f;", "sums[col] = 0.0f;"),
        r"out-of-bounds write of 4 bytes in shared memory \(offset 128 of the dynamic array",
        "out-of-bounds access 0 bytes past the end of dynamic shared memory",
        at="sums[col] = 0.0f;",
    ),
    "an index past the row": _backward_bug(
        (
            TILE_WRITE,
            f"tile[threadIdx.y][threadIdx.x + 2] = sum; // planted\n  __syncwarp();\n  {TILE_WRITE}",
        ),
        "array index 33 out of bounds",
        SHARED_SPOILT,
        at="// planted",
    ),
    "an index past the end of shared memory": _backward_bug(
        (TILE_WRITE, f"if (threadIdx.x == 31) (&tile[7][0])[34] = sum; // planted\n  {TILE_WRITE}"),
        f"{OUT_OF_BOUNDS.format('write', 4)} in shared memory|array index 34 out of bounds",
        SHARED_SPOILT,
        at="// planted",
    ),
    "an index past a static array, short of the next": _swap_bug(
        ("a[t] = x[t];", "a[t] = x[t]; (a + t)[1] = x[t];"),
        f"{OUT_OF_BOUNDS.format('write', 4)} in shared memory|array index|{SHARED_RACE}",
        f"{SHARED_SPOILT}, .* bytes before a static array of 128 bytes",
        at="(a + t)[1]",
    ),
    "an index before the dynamic array": _swap_bug(
        ("ones[t] = 1.0f;", "(ones - 1)[t] = 1.0f; ones[t] = 1.0f;"),
        rf"{OUT_OF_BOUNDS.format('write', 4)} in shared memory \(offset -4 of the dynamic array|{SHARED_RACE}",
        f"{SHARED_SPOILT}, before the dynamic array",
        at="(ones - 1)[t]",
    ),
    "an index just past the dynamic array": _swap_bug(
        ("ones[t] = 1.0f;", "ones[t] = 1.0f; if (t == 31) ones[t + 2] = 1.0f;"),
        rf"{OUT_OF_BOUNDS.format('write', 4)} in shared memory \(offset 132 of the dynamic array",
        f"{SHARED_SPOILT}, past the end of the dynamic array",
        at="ones[t + 2]",
    ),
    "a float4 read past the end": _bias_bug(
        ("i < size / 4;", "i <= size / 4;"),
        f"{OUT_OF_BOUNDS.format('read', '(4|16)')}: 0 bytes past the end of array x",
        r"invalid memory access at .*: \d+ bytes past the end of array x",
        at="__ldg(reinterpret_cast<const float4*>(x)",
    ),
    "a float read past the end": _odd_backward_bug(
        ("dl_dh[i] *", "dl_dh[i + 1] *"),
        rf"{OUT_OF_BOUNDS.format('read', 4)}: 0 bytes past the end of array float32\[129, 31\]",
        WRONG,
        at="dl_dh[i + 1]",
    ),
    "a float written past the end": _odd_bias_bug(
        ("h[i] = activate", "h[i + 1] = activate"),
        f"{OUT_OF_BOUNDS.format('write', 4)}: 0 bytes past the end of array h",
        "wrote after an array of 2812 bytes",
        at="h[i + 1] = activate",
    ),
    "a float written before the start": _odd_bias_bug(
        ("h[i] = activate", "h[i - 1] = activate"),
        f"{OUT_OF_BOUNDS.format('write', 4)}: 4 bytes before array h",
        "wrote before an array of 2812 bytes",
        at="h[i - 1] = activate",
    ),
    "an atomic past the end": _count_bug(
        ("counter,", "counter + 1,"),
        f"{OUT_OF_BOUNDS.format('write', 4)}: 0 bytes past the end of array counter",
        WRONG,
        at="atomicAdd",
    ),
    "a misaligned float4": _bias_bug(
        ("(beta) + i % (cols / 4)", "(beta + 1)"), "misaligned", WRONG, at="(beta + 1)"
    ),
    "a misaligned asynchronous copy": _pipeline_bug(
        ("x + thread * 4);", "x + thread * 4 + 1);"),
        "misaligned access of 16 bytes: offset [0-9]+ of array",
        "misaligned access of 16 bytes: offset [0-9]+ of array",
    ),
    "a null pointer": _add_up_bug(
        ("= x[i]", "= (x - i)[i - (x - (const float*)nullptr)]"),
        "invalid memory access at",
        "invalid memory access at",
        at="= (x - i)",
    ),
    "a local index past the end": _add_up_bug(
        ("window[i % 4] = x[i];", "window[i % 5] = x[i];"), "array index 4 out of bounds", WRONG, at="i % 5"
    ),
    "too much local memory": _add_up_bug(
        ("float window[4] = {};", "volatile float window[1 << 16];"), "stack overflow", "stack overflow"
    ),
    "too much static shared memory": _reverse_bug(
        ("s[32];", "s[12289];"),
        "static shared memory of 49156 bytes is over the limit",
        "static shared memory of 49156 bytes is over the limit",
    ),
    "an uninitialised register": _add_up_bug(("float sum = 0.0f", "float sum"), WRONG, WRONG),
}

_ARITHMETIC: dict[str, Bug] = {
    "a division by zero": _add_up_bug(
        ("x[i];", "x[i / (n - 9)];"), "division by zero", "integer division by zero", at="(n - 9)"
    ),
    "a shift too far": _add_up_bug(("i < n;", "i < n << 32 + i;"), "shift out of range", WRONG, at="<< 32"),
    "an assertion": _add_up_bug(
        ("float sum = 0.0f;", "float sum = 0.0f;\n  assert(n < 9);"),
        "device assert failed: n < 9",
        r"device assert failed: n < 9 \(add_up.cu:5\)",
        at="assert",
    ),
}

BUGS = {**_ORDER, **_MEETING, **_MEMORY, **_ARITHMETIC}
