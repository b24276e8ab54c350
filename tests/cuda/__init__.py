"""The kernels of `cuda/` compiled for real GPUs, where none is: by NVRTC, down to machine code.

    python -m tests.cuda.resources     the table of registers, shared memory and spills

What it shows: that every kernel the backend can ask for compiles with CuPy's options; how many registers ptxas gives
it, and that nothing spills to memory; that packs move by 16-byte accesses. What it cannot show: that a kernel is right,
which the emulator shows, or fast, which only a GPU shows.
"""
