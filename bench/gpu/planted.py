"""Bugs for compute-sanitizer to find, each in a tiny kernel: `python planted.py memcheck` writes past an array's end.

Each runs to its end without the tool, so that it is the tool that fails.
"""

from __future__ import annotations

import sys

__all__ = ["BUGS"]

# Tool: its bug, and the kernel.
BUGS = {
    "memcheck": (
        "a write past the end of an array",
        'extern "C" __global__ void planted(float* a, int n) { if (threadIdx.x <= n) a[threadIdx.x] = 1.0f; }',
    ),
    "racecheck": (
        "shared memory read without a barrier after another thread's write",
        """extern "C" __global__ void planted(float* a, int n) {
          __shared__ float of_thread[256];
          of_thread[threadIdx.x] = threadIdx.x;
          a[threadIdx.x % n] = of_thread[(threadIdx.x + 64) % 256];
        }""",
    ),
    "initcheck": (
        "memory read that nothing was written to",
        'extern "C" __global__ void planted(float* a, int n) { if (threadIdx.x < n) a[threadIdx.x] += 1.0f; }',
    ),
    "synccheck": (
        "a barrier that only some threads of a block reach",
        """extern "C" __global__ void planted(float* a, int n) {
          if (threadIdx.x < 16) { __syncthreads(); a[threadIdx.x % n] = 1.0f; }
        }""",
    ),
}


def main(tool: str) -> None:
    """Run the bug of that tool on memory that no pool rounds up."""
    import cupy
    import numpy as np

    cupy.cuda.set_allocator(None)
    array = cupy.empty(200, cupy.float32)
    if tool != "initcheck":
        cupy.cuda.runtime.memset(array.data.ptr, 0, array.nbytes)
    kernel = cupy.RawKernel(BUGS[tool][1], "planted")
    kernel((1,), (256,), (array, np.int32(200)))
    cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    main(sys.argv[1])
