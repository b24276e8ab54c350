"""Kernels of `cuda/*.cu` run on the CPU: what a GPU would compute, and what it would do wrong unseen.

A kernel is compiled with g++ against headers that stand in for CUDA's; every CUDA thread is a fiber, and fibers take turns
at barriers, warp collectives and, where asked, at memory accesses.

    module = Module(source, filename="bias.cu", names=["bias_activation<float, relu>"], mode="check")
    kernel = module.get_function("bias_activation<float, relu>")
    kernel((blocks,), (256,), (asarray(x), asarray(bias), y := empty(x.shape), np.int64(x.size)))

What it shows: wrong results at any size and order of threads; a missing, divergent or unreachable barrier; a collective in a
diverged warp; shared memory that nobody has written; and in mode "check" data races, accesses outside of an array or of shared
memory, misaligned vector accesses and lost updates, each with its line.

What it cannot show: the GPU's weak memory model beyond a missing fence before an atomic, the approximation errors of its fast
functions, registers, occupancy and speed, whether NVRTC accepts what g++ accepts, inline PTX (a kernel has a second body
under `#ifdef CUDA_EMULATOR`).
"""

from __future__ import annotations

from tests.emulator.compiler import unavailable_reason
from tests.emulator.errors import EmulatorError
from tests.emulator.memory import asarray, empty, zeros
from tests.emulator.module import Function, Module

__all__ = ["EmulatorError", "Function", "Module", "asarray", "empty", "unavailable_reason", "zeros"]
