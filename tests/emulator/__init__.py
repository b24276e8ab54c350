"""Kernels of `cuda/*.cu` run on the CPU: what a GPU would compute, and what goes wrong there unseen.

A kernel is compiled with g++ against headers that stand in for CUDA's. Every CUDA thread is a fiber, and fibers take
turns at barriers, at collectives of a warp and, where asked, at accesses to memory.

    module = Module(source, filename="bias.cu", names=["bias_activation<float, relu>"], mode="check")
    kernel = module.get_function("bias_activation<float, relu>")
    kernel((blocks,), (256,), (asarray(x), asarray(beta), h := empty(x.shape), np.int64(x.size)))

What it shows: wrong results, in any order of threads and for any size; a barrier that is missing, divergent or never
reached; a collective in a diverged warp; shared memory that nobody has written. In mode "check" also data races, lost
updates, a missing fence before an atomic, accesses outside of arrays, misaligned ones, each with its line.

What it cannot show: other effects of the GPU's weak memory model; the rounding of its fast functions; registers,
occupancy, __launch_bounds__ and speed; whether NVRTC accepts what g++ accepts; inline PTX, in whose place a kernel has
a second body under `#ifdef CUDA_EMULATOR` that calls `emulated_ptx.h`.
"""

from __future__ import annotations

from tests.emulator.compiler import unavailable_reason
from tests.emulator.errors import EmulatorError
from tests.emulator.memory import asarray, empty, zeros
from tests.emulator.module import Function, Module

__all__ = ["EmulatorError", "Function", "Module", "asarray", "empty", "unavailable_reason", "zeros"]
