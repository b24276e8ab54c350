"""Modules and launches: what can be compiled, how it is launched, and what is refused before a thread runs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.emulator import EmulatorError, Function, Module, empty, zeros
from tests.emulator.module import MODE_VARIABLE

pytestmark = pytest.mark.usefixtures("emulator")

FILL = (
    'extern "C" __global__ void fill(int* x, int value) { x[blockIdx.x * blockDim.x + threadIdx.x] = value; }'
)


def fill(**options: Any) -> Function:
    return Module(FILL, **options).get_function("fill")


# ---- sources


def test_template_instances_have_any_name_that_cuda_allows() -> None:
    source = """
    namespace layers {
    enum Kind { relu, identity };
    template <class T> struct Wrapped { T value; };
    template <class T, Kind kind, bool keep> __global__ void forward(int* out) {
      *out = sizeof(T) + 100 * kind + 1000 * keep;
    }
    }
    template <int n> __global__ void number(int* out) { *out = n; }
    template <class T> __global__ void number(int* out) { *out = -int(sizeof(T)); }
    """
    expected = {
        "layers::forward<float, layers::identity, false>": 104,
        "layers::forward<layers::Wrapped<layers::Wrapped<double>>, layers::relu, true>": 1008,
        "layers::forward< unsigned char ,layers::identity,(3 > 2)>": 1101,
        "number<7>": 7,
        "number<short>": -2,
    }
    module = Module(source, names=list(expected))
    out = empty(1, np.int32)
    for name, value in expected.items():
        module.get_function(name)((1,), (1,), (out,))
        assert out[0] == value, name


def test_modern_c_plus_plus_is_understood() -> None:
    source = """
    template <class Action> __device__ void for_each(long long n, Action action) {
      const long long stride = (long long)gridDim.x * blockDim.x;
      for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) action(i);
    }
    template <class T, bool twice> __global__ void apply(const T* x, T* y, long long n) {
      __shared__ T scale[1];
      const auto multiply = [&](auto value) { return value * scale[0]; };
      if (threadIdx.x == 0) scale[0] = T(3);
      __syncthreads();
      for_each(n, [=](auto i) {
        if constexpr (twice) y[i] = multiply(multiply(x[i]));
        else y[i] = multiply(x[i]);
      });
    }
    """
    names = ["apply<float, true>", "apply<double, false>"]
    module = Module(source, names=names, mode="check")
    for name, dtype, factor in ((names[0], np.float32, 9), (names[1], np.float64, 3)):
        x, y = np.arange(100, dtype=dtype), empty(100, dtype)
        module.get_function(name)((2,), (32,), (x, y, np.int64(100)))
        np.testing.assert_array_equal(y, factor * x)


def test_instances_of_a_function_have_shared_memory_of_their_own() -> None:
    source = """
    template <class T> __device__ T first_of_block(T value) {
      __shared__ T first;
      if (threadIdx.x == 0) first = value;
      __syncthreads();
      return first;
    }
    extern "C" __global__ void both(double* out) {
      const float a = first_of_block(threadIdx.x + 1.0f);
      const double b = first_of_block(threadIdx.x + 2.0);
      out[threadIdx.x] = a + 10 * b;
    }"""
    out = empty(64, np.float64)
    Module(source, mode="check").get_function("both")((1,), (64,), (out,))
    assert set(out) == {21.0}


def test_constants_and_globals() -> None:
    source = """
    __constant__ float table[3] = {1.0f, 2.0f, 4.0f};
    __device__ unsigned calls = 0;
    extern "C" __global__ void add(float* out) { atomicAdd(&calls, 1u); *out = table[0] + table[1] + table[2] + calls; }
    """
    out = empty(1)
    Module(source, mode="check").get_function("add")((1,), (1,), (out,))
    assert out[0] == 8


def test_headers_come_from_folders(tmp_path: Path) -> None:
    (tmp_path / "sizes.cuh").write_text("#pragma once\nconstexpr int SIZE = 5;\n")
    (tmp_path / "sums.cuh").write_text(
        '#pragma once\n#include "sizes.cuh"\n__device__ int size() { __shared__ int s; s = SIZE; return s; }\n'
    )
    source = '#include "sums.cuh"\nextern "C" __global__ void ask(int* out) { *out = size(); }'
    out = empty(1, np.int32)
    Module(source, include_dirs=[tmp_path]).get_function("ask")((1,), (1,), (out,))
    assert out[0] == 5
    (tmp_path / "sizes.cuh").write_text("#pragma once\nconstexpr int SIZE = 6;\n")
    Module(source, include_dirs=[str(tmp_path)]).get_function("ask")((1,), (1,), (out,))
    assert out[0] == 6


def test_a_source_that_g_plus_plus_refuses() -> None:
    source = '\n\nextern "C" __global__ void broken(float* x) { x[0] = unknown; }'
    with pytest.raises(
        EmulatorError, match=r"g\+\+ refuses the source:(.|\n)*broken\.cu:3:\d+: error: .unknown."
    ):
        Module(source, filename="broken.cu")


def test_a_long_message_is_trimmed() -> None:
    source = "".join(f"int x{i} = unknown{i};\n" for i in range(200))
    with pytest.raises(EmulatorError, match=r"\(\d+ more lines\)$") as caught:
        Module(source)
    assert "unknown0" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 40


def test_line_directives_are_honoured() -> None:
    source = (
        '#line 40 "layers.cuh"\n__device__ void bad() { __trap(); assert(false); }\n#line 7 "main.cu"\n'
        + FILL
    )
    with pytest.raises(EmulatorError, match=r"layers\.cuh:41:\d+: error"):
        Module('#line 41 "layers.cuh"\nint x = unknown;\n' + FILL)
    kernel = Module(source, mode="check").get_function("fill")
    with pytest.raises(EmulatorError, match=r"out-of-bounds write of 4 bytes.*\[main\.cu:7\]"):
        kernel((1,), (5,), (empty(4, np.int32), np.int32(1)))


def test_what_nvrtc_does_not_know_is_not_known_here() -> None:
    for name in ("INFINITY", "NAN"):
        with pytest.raises(EmulatorError, match=name):
            Module(f"__device__ float f() {{ return {name}; }}")


def test_an_unknown_kernel_is_refused_with_those_there_are() -> None:
    module = Module(FILL + "template <int n> __global__ void t() {}", filename="fill.cu", names=["t<1>"])
    with pytest.raises(EmulatorError, match=r"^fill\.cu has no kernel t<2>; there are: fill, t<1>$"):
        module.get_function("t<2>")


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the mode is 'slow'; choose one of fast, check, asan"):
        Module(FILL, mode="slow")
    monkeypatch.setenv(MODE_VARIABLE, "check")
    assert Module(FILL).mode == "check"
    assert Module(FILL, mode="fast").mode == "fast"
    monkeypatch.setenv(MODE_VARIABLE, "")
    assert Module(FILL).mode == "fast"


# ---- launches


def test_indices_are_those_of_cuda() -> None:
    source = """
    extern "C" __global__ void where(int* out) {
      const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
      const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
      const int i = block * blockDim.x * blockDim.y * blockDim.z + thread;
      const int of_block = (blockIdx.x * 10 + blockIdx.y) * 10 + blockIdx.z;
      out[i] = ((of_block * 10 + threadIdx.x) * 10 + threadIdx.y) * 10 + threadIdx.z;
    }"""
    grid, block = (2, 3, 2), (3, 2, 4)
    out = empty(12 * 24, np.int32)
    Module(source).get_function("where")(grid, block, (out,))
    axes = np.meshgrid(*map(np.arange, (*grid[::-1], *block[::-1])), indexing="ij")
    z, y, x, tz, ty, tx = (axis.ravel() for axis in axes)
    np.testing.assert_array_equal(out, ((((x * 10 + y) * 10 + z) * 10 + tx) * 10 + ty) * 10 + tz)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"block": (1025,)}, EmulatorError, r"fill: invalid block \(1025,1,1\)"),
    ({"block": (32, 33)}, EmulatorError, r"fill: invalid block \(32,33,1\)"),
    ({"block": (1, 1, 65)}, EmulatorError, r"fill: invalid block \(1,1,65\)"),
    ({"grid": (1, 65536)}, EmulatorError, r"fill: invalid grid \(1,65536,1\)"),
    ({"grid": (0,)}, ValueError, r"the grid is \(0,\); give one to three positive numbers"),
    ({"block": ()}, ValueError, r"the block is \(\); give one to three positive numbers"),
    ({"grid": (1, 1, 1, 1)}, ValueError, "the grid is"),
    (
        {"shared_mem": 49153},
        EmulatorError,
        "dynamic shared memory of 49153 bytes is over 49152, raise max_dynamic",
    ),
    ({"grid": (133,), "cooperative": True}, EmulatorError, "cooperative launch of 133 blocks: more than 132"),
    (
        {"order": "sideways"},
        ValueError,
        "the order is 'sideways'; choose one of forward, reverse, random, warps",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_a_launch_that_cuda_would_refuse(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    x = zeros(4, np.int32)
    given = {"grid": (1,), "block": (1,), **options}
    with pytest.raises(error, match=message):
        fill()(args=(x, np.int32(1)), **given)
    assert not x.any()


def test_more_dynamic_shared_memory_must_be_asked_for() -> None:
    source = """
    extern "C" __global__ void use(float* out, int n) {
      extern __shared__ float s[];
      s[n - 1] = 1.0f;
      *out = s[n - 1];
    }"""
    kernel = Module(source, mode="check").get_function("use")
    assert kernel.max_dynamic_shared_size_bytes == 48 << 10
    kernel.max_dynamic_shared_size_bytes = 227 << 10
    out = zeros(1)
    kernel((1,), (1,), (out, np.int32((227 << 10) // 4)), 227 << 10)
    assert out[0] == 1
    with pytest.raises(ValueError, match="at most 232448 bytes of shared memory, not 232449"):
        kernel.max_dynamic_shared_size_bytes = 232449


def test_static_and_dynamic_shared_memory_share_the_limit() -> None:
    source = """
    extern "C" __global__ void use(float* out) {
      extern __shared__ float dynamic[];
      __shared__ float fixed[64];
      fixed[0] = dynamic[0] = 1.0f;
      *out = fixed[0] + dynamic[0];
    }"""
    kernel, out = Module(source).get_function("use"), zeros(1)
    kernel((1,), (1,), (out,), (48 << 10) - 256)
    with pytest.raises(
        EmulatorError, match="shared memory of 256 static and 49152 dynamic bytes is over the limit"
    ):
        kernel((1,), (1,), (out,), 48 << 10)
    kernel.max_dynamic_shared_size_bytes = 64 << 10
    kernel((1,), (1,), (out,), 64 << 10)


def test_shared_memory_starts_as_nan() -> None:
    """In mode "fast" too, where the read is not reported; and in each block anew."""
    source = """
    extern "C" __global__ void look(float* out) {
      extern __shared__ float dynamic[];
      __shared__ float fixed;
      out[2 * blockIdx.x] = fixed;
      out[2 * blockIdx.x + 1] = dynamic[0];
      fixed = dynamic[0] = 1.0f;
    }"""
    out = zeros(6)
    Module(source).get_function("look")((3,), (1,), (out,), 4)
    assert np.isnan(out).all()


def test_a_grid_barrier_needs_a_cooperative_launch() -> None:
    source = """
    #include <cooperative_groups.h>
    extern "C" __global__ void meet() { cooperative_groups::this_grid().sync(); }"""
    with pytest.raises(EmulatorError, match=r"grid\.sync at meet\.cu:3 in a launch that is not cooperative"):
        Module(source, filename="meet.cu").get_function("meet")((2,), (32,), ())
    Module(source).get_function("meet")((2,), (32,), (), cooperative=True)
    kernel = Module(source, enable_cooperative_groups=True).get_function("meet")
    kernel((2,), (32,), ())
    with pytest.raises(EmulatorError, match="not cooperative"):
        kernel((2,), (32,), (), cooperative=False)


def test_a_launch_is_counted() -> None:
    source = """
    extern "C" __global__ void work() {
      __shared__ int s[10];
      s[0] = 1;
      __syncwarp();
      __syncthreads();
    }"""
    kernel = Module(source).get_function("work")
    kernel((3,), (64,), ())
    statistics = kernel.statistics
    assert statistics is not None
    assert (statistics.blocks, statistics.barriers, statistics.collectives) == (3, 3, 6)
    assert statistics.static_shared_bytes == 40


def test_a_seed_repeats_an_order() -> None:
    source = 'extern "C" __global__ void line_up(int* next, int* place) { place[threadIdx.x] = atomicAdd(next, 1); }'
    kernel = Module(source).get_function("line_up")

    def places(**launch: Any) -> tuple[int, ...]:
        place = empty(64, np.int32)
        kernel((1,), (64,), (zeros(1, np.int32), place), **launch)
        return tuple(place)

    assert places(order="forward") == tuple(range(64))
    assert places(order="reverse") == tuple(range(63, -1, -1))
    assert places(seed=1) == places(seed=1) != places(seed=2)
    warps = {places(order="warps", seed=seed) for seed in range(8)}
    assert warps == {tuple(range(64)), (*range(32, 64), *range(32))}


def test_a_failed_launch_leaves_the_next_one_alone() -> None:
    source = """
    extern "C" __global__ void half(int* x, int fails) {
      __shared__ int s[64];
      s[threadIdx.x] = threadIdx.x;
      __syncthreads();
      if (fails && threadIdx.x == 7) __trap();
      __syncthreads();
      x[threadIdx.x] = s[63 - threadIdx.x];
    }"""
    kernel, x = Module(source, mode="check").get_function("half"), empty(64, np.int32)
    for _ in range(3):
        with pytest.raises(EmulatorError, match=r"block \(1,0,0\) thread \(7,0,0\): __trap\(\) executed"):
            kernel((2,), (64,), (x, np.int32(1)), order="reverse")
        kernel((1,), (64,), (x, np.int32(0)))
        np.testing.assert_array_equal(x, np.arange(63, -1, -1))


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_arrays_from_elsewhere_will_do(mode: str) -> None:
    x = np.zeros((4, 4), np.int32)
    fill(mode=mode)((2,), (4,), (x[2:], np.int32(5)))
    assert x.ravel().tolist() == [0] * 8 + [5] * 8


def test_races_on_arrays_from_elsewhere_are_seen() -> None:
    source = 'extern "C" __global__ void all_write(int* x) { x[0] = threadIdx.x; }'
    with pytest.raises(
        EmulatorError, match=r"data race \(write after write\) .* offset 16 of array int32\[8\]"
    ):
        Module(source, mode="check").get_function("all_write")((1,), (2,), (np.zeros(8, np.int32)[4:],))


def test_launches_from_other_threads() -> None:
    spin = 'extern "C" __global__ void spin(int* x) { volatile int* flag = x; while (*flag == 0) { } }'
    kernels = (fill(), Module(spin).get_function("spin"))
    seen: list[Any] = []

    def work() -> None:
        x = zeros(8, np.int32)
        kernels[0]((1,), (8,), (x, np.int32(3)))
        seen.append(x.tolist())
        try:
            kernels[1]((1,), (1,), (zeros(1, np.int32),), timeout=0.2)
        except EmulatorError as error:
            seen.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] == [3] * 8
    assert "launch timed out" in seen[1]


def test_some_blocks_of_a_grid_may_run_alone() -> None:
    source = """
extern "C" __global__ void number(int* out_n) { out_n[blockIdx.y * gridDim.x + blockIdx.x] = blockIdx.y; }
"""
    function = Module(source).get_function("number")
    out = np.full(12, -1, np.int32)
    function((4, 3), (1,), (out,), blocks=(6, 3))
    np.testing.assert_array_equal(out, [-1] * 6 + [1, 1, 2] + [-1] * 3)
    for blocks in ((11, 2), (-1, 2), (3, 0)):
        with pytest.raises(
            ValueError, match=r"blocks from number -?\d+ on were asked for, but the grid has 12"
        ):
            function((4, 3), (1,), (out,), blocks=blocks)
