"""What orders two accesses and what does not: small kernels, of which mode "check" accuses the wrong ones alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.emulator import EmulatorError, Module, zeros
from tests.emulator.module import ORDERS

pytestmark = pytest.mark.usefixtures("emulator")

TICKET = """
extern "C" __global__ void kernel(int* x, unsigned* ticket) {{
  __shared__ bool is_last;
  {before}
  if (threadIdx.x == 0) {{
    {fence}
    is_last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  }}
  __syncthreads();
  if (is_last) {{
    {after}
  }}
}}"""
OWN, NEXT = (
    "x[blockIdx.x * blockDim.x + threadIdx.x]",
    "x[blockIdx.x * blockDim.x + (threadIdx.x + 1) % blockDim.x]",
)
SUM = "int sum = 0; for (unsigned i = 0; i < gridDim.x * blockDim.x; ++i) sum += x[i]; if (sum < 0) __trap();"


def ticket(before: str, fence: str, after: str) -> str:
    """A kernel whose last block does something with what the others did."""
    return TICKET.format(before=before, fence=fence, after=after)


def plain(body: str, declarations: str = "") -> str:
    """A kernel of one body."""
    return f'{declarations}\nextern "C" __global__ void kernel(int* x, unsigned* ticket) {{ {body} }}'


RIGHT = {
    "a barrier of the block": plain(f"{OWN} = 1; __syncthreads(); {NEXT} = 2;"),
    "a barrier of the warp": plain(f"{OWN} = 1; __syncwarp(); if (blockDim.x <= 32) {NEXT} = 2;"),
    "a shuffle": plain(f"{OWN} = 1; __shfl_xor_sync(~0u, 1, 1); if (blockDim.x <= 32) {NEXT} = 2;"),
    "atomics alone": plain("atomicAdd(x, 1); atomicMax(x, 3);"),
    "reads alone": plain("if (x[0] + x[1] < 0) __trap();"),
    "own accesses": plain(f"{OWN} = 1; {OWN} += 1; if ({OWN} < 0) __trap();"),
    "the writer fences after a barrier": ticket(f"{OWN} = 1; __syncthreads();", "__threadfence();", SUM),
    "every thread fences before a barrier": ticket(f"{OWN} = 1; __threadfence(); __syncthreads();", "", SUM),
    "the last block writes what all have read": ticket(
        f"{SUM} __syncthreads();", "__threadfence();", f"{OWN} = 1;"
    ),
    "a volatile flag that is raised while others look": plain(
        "volatile int* flag = x; if (blockIdx.x == 0 && threadIdx.x == 0) *flag = 1; else if (*flag > 1) __trap();"
    ),
    "an atomic flag that is raised while others look": plain(
        "volatile int* flag = x;"
        " if (blockIdx.x == 0 && threadIdx.x == 0) atomicExch(x, 1); else if (*flag > 1) __trap();"
    ),
    "the last block reads and writes what another has read": ticket(
        "if (blockIdx.x == 0 && x[0] < 0) __trap(); __syncthreads();",
        "__threadfence();",
        "if (x[0] < 0) __trap(); __syncthreads(); if (threadIdx.x == 0) x[0] = 1;",
    ),
    "two rounds of tickets, each with its fence": ticket(
        f"{OWN} = 1; __syncthreads(); if (threadIdx.x == 0) {{ __threadfence(); atomicAdd(ticket + 1, 1u); }}"
        f" __syncthreads(); {OWN} = 2; __syncthreads();",
        "__threadfence();",
        SUM,
    ),
}

WRONG = {
    "no barrier of the block": plain(f"{OWN} = 1; {NEXT} = 2;"),
    "a barrier before both": plain(f"__syncthreads(); {OWN} = 1; {NEXT} = 2;"),
    "a barrier of half a warp": plain(
        f"{OWN} = 1; __syncwarp(threadIdx.x % 32 < 16 ? 0xffffu : 0xffff0000u); if (threadIdx.x == 15) {NEXT} = 2;"
    ),
    "a barrier of the warp for two warps": plain(f"{OWN} = 1; __syncwarp(); {NEXT} = 2;"),
    "an atomic and a plain write": plain("if (threadIdx.x == 0) x[0] = 1; else atomicAdd(x, 1);"),
    "an atomic and a plain read": plain(
        "if (threadIdx.x == 0) atomicAdd(x, 1); else if (x[0] < 0) __trap();"
    ),
    "the same write by two": plain("x[0] = 1;"),
    "a write while others read": plain("if (x[0] < 0) __trap(); if (threadIdx.x == 40) x[0] = 1;"),
    "a block that writes what another reads": plain(
        "if (blockIdx.x == 0) x[0] = 1; else if (x[0] < 0) __trap();"
    ),
    "a block barrier between blocks": plain(
        "if (blockIdx.x == 0 && threadIdx.x == 0) x[0] = 1; __syncthreads(); if (x[0] < 0) __trap();"
    ),
    "a ticket without a fence": ticket(f"{OWN} = 1; __syncthreads();", "", SUM),
    "a ticket with a fence of the block alone": ticket(
        f"{OWN} = 1; __syncthreads();", "__threadfence_block();", SUM
    ),
    "a fence that covers one thread, and no barrier": ticket(f"{OWN} = 1;", "__threadfence();", SUM),
    "a second round without its fence": ticket(
        f"{OWN} = 1; __syncthreads(); if (threadIdx.x == 0) {{ __threadfence(); atomicAdd(ticket + 1, 1u); }}"
        f" __syncthreads(); {OWN} = 2; __syncthreads();",
        "",
        SUM,
    ),
    "a write by one of several blocks that have read": plain(
        "if (x[0] < 0) __trap(); __syncthreads(); if (blockIdx.x == 2 && threadIdx.x == 0) x[0] = 1;"
    ),
    "a write of what one block alone has read": plain(
        "if (blockIdx.x == 0 && x[0] < 0) __trap(); if (blockIdx.x == 2 && threadIdx.x == 0) x[0] = 1;"
    ),
    "a barrier of the warp before both": plain(
        f"__syncwarp(); if (threadIdx.x < 32) {OWN} = 1; if (threadIdx.x < 31) {NEXT} = 2;"
    ),
}


def launch(source: str, threads: int, **options: Any) -> None:
    """Three blocks."""
    kernel = Module(source, mode="check").get_function("kernel")
    kernel((3,), (threads,), (zeros(3 * threads, np.int32), zeros(2, np.uint32)), **options)


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT)
def test_what_is_ordered_is_not_accused(source: str) -> None:
    for order in ORDERS:
        for seed in range(3):
            launch(source, 32, order=order, seed=seed)
            launch(source, 32, order=order, seed=seed, preemption=0.2, cooperative=True)
    launch(source, 64, preemption=0.2)


@pytest.mark.parametrize("source", WRONG.values(), ids=WRONG)
def test_what_is_not_ordered_is_accused_in_every_order(source: str) -> None:
    for order in ORDERS:
        with pytest.raises(EmulatorError, match="data race"):
            launch(source, 64, order=order)


def test_one_launch_comes_before_the_next() -> None:
    x, ticket_ = zeros(96, np.int32), zeros(2, np.uint32)
    kernel = Module(plain(f"{OWN} = 1;"), mode="check").get_function("kernel")
    shifted = Module(plain(f"{NEXT} = 1;"), mode="check").get_function("kernel")
    for _ in range(2):
        kernel((3,), (32,), (x, ticket_))
        shifted((3,), (32,), (x, ticket_))
