"""What the headers offer in the place of CUDA's: each function against NumPy, or against a value known in advance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.emulator import Module, empty, zeros
from tests.emulator.examples import bfloat16, normal

pytestmark = pytest.mark.usefixtures("emulator")

Array = NDArray[Any]


def evaluate(expressions: list[str], *, includes: str = "", given: str = "") -> Array:
    """The values of expressions as double, computed by one thread."""
    lines = "\n".join(f"out[{i}] = double({expression});" for i, expression in enumerate(expressions))
    source = f'{includes}\nextern "C" __global__ void evaluate(double* out) {{\n{given}\n{lines}\n}}'
    out = empty(len(expressions), np.float64)
    Module(source).get_function("evaluate")((1,), (1,), (out,))
    return out


def test_the_functions_of_one_float() -> None:
    x = float(np.float32(0.7))
    expected: dict[str, float] = {
        "expf": math.exp(x), "exp2f": 2**x, "expm1f": math.expm1(x), "logf": math.log(x), "log1pf": math.log1p(x),
        "log2f": math.log2(x), "tanhf": math.tanh(x), "erff": math.erf(x), "erfcf": math.erfc(x), "sqrtf": math.sqrt(x),
        "rsqrtf": 1 / math.sqrt(x), "fabsf": x, "floorf": 0, "ceilf": 1, "cosf": math.cos(x), "sinf": math.sin(x),
        "__expf": math.exp(x), "__logf": math.log(x), "__log2f": math.log2(x), "__frcp_rn": 1 / x,
        "__fsqrt_rn": math.sqrt(x), "__frsqrt_rn": 1 / math.sqrt(x), "__saturatef": x, "__sinf": math.sin(x),
        "exp": math.exp(x), "expm1": math.expm1(x), "log1p": math.log1p(x), "tanh": math.tanh(x), "erf": math.erf(x),
        "abs": x, "fabs": x, "sqrt": math.sqrt(x), "rsqrt": 1 / math.sqrt(x),
    }  # fmt: skip
    got = evaluate([f"{name}(x)" for name in expected], given="volatile float v = 0.7f; const float x = v;")
    np.testing.assert_allclose(got, list(expected.values()), rtol=5e-7)


def test_the_functions_of_one_double() -> None:
    x = 0.7
    expected = {
        "exp": math.exp(x), "expm1": math.expm1(x), "log1p": math.log1p(x), "tanh": math.tanh(x), "erf": math.erf(x),
        "log": math.log(x), "fabs": x, "sqrt": math.sqrt(x), "rsqrt": 1 / math.sqrt(x), "__dsqrt_rn": math.sqrt(x),
    }  # fmt: skip
    got = evaluate([f"{name}(x)" for name in expected], given="volatile double v = 0.7; const double x = v;")
    np.testing.assert_allclose(got, list(expected.values()), rtol=1e-15)


def test_functions_of_a_float_are_computed_in_float() -> None:
    """In C `exp` of a float would be a double, and a kernel for float would be more precise here than on a GPU."""
    names = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt", "rsqrt", "fabs", "abs", "floor", "pow")
    calls = [f"{name}(1.0f, 1.0f)" if name == "pow" else f"{name}(1.0f)" for name in names]
    assert (evaluate([f"sizeof({call})" for call in calls]) == 4).all()


VALUES = {
    "copysign(2.0, -1.0)": -2, "copysignf(2.0f, -0.0f)": -2, "fmaxf(1.0f, __int_as_float(0x7fffffff))": 1,
    "max(2, 3)": 3, "max(2.0f, 3)": 3, "min(2u, 3u)": 2, "min(1.0, -1.0f)": -1, "fmaf(2.0f, 3.0f, 4.0f)": 10,
    "isnan(__int_as_float(0x7fffffff))": 1, "isinf(__int_as_float(0x7f800000))": 1, "isfinite(1.0f)": 1,
    "__umulhi(0x80000000u, 6u)": 3, "__mulhi(-0x7fffffff, 4)": -2, "__umul64hi(1ull << 63, 6ull)": 3,
    "__popc(0xf0f0u)": 8, "__popcll(~0ull)": 64, "__ffs(8)": 4, "__ffs(0)": 0, "__clz(1)": 31, "__clz(0)": 32,
    "__clzll(1)": 63, "__brev(1u)": 2**31, "__float_as_uint(1.0f)": 0x3F800000, "__float_as_int(-0.0f)": -(2**31),
    "__uint_as_float(0x40000000u)": 2, "__double_as_longlong(1.0)": 0x3FF0000000000000,
    "__longlong_as_double(0x4000000000000000ll)": 2, "__float2int_rn(2.5f)": 2, "__float2int_rz(-2.7f)": -2,
    "__float2int_rd(-2.2f)": -3, "__int2float_rn(3)": 3, "__saturatef(1.5f)": 1, "__saturatef(-1.0f)": 0,
    "__fdividef(1.0f, 4.0f)": 0.25, "__fdividef(1.0f, 0x1p127f)": 0, "__fmul_rn(3.0f, 0.5f)": 1.5,
    "__fadd_rn(1.0f, 0x1p-30f)": 1, "__dadd_rn(1.0, 2.0)": 3, "__fmaf_rn(2.0f, 3.0f, 1.0f)": 7, "__powf(2.0f, 3.0f)": 8,
    "__CUDA_ARCH__": 900, "warpSize": 32, "sizeof(float4)": 16, "alignof(float4)": 16, "alignof(float2)": 8,
    "sizeof(double2)": 16, "alignof(double2)": 16, "sizeof(longlong2)": 16, "sizeof(uint4)": 16, "alignof(uint4)": 16,
    "sizeof(float3)": 12, "sizeof(uchar4)": 4, "alignof(uchar4)": 4, "sizeof(short4)": 8, "alignof(short4)": 8,
    "make_float4(1, 2, 3, 4).w": 4, "make_uint2(1, 2).y": 2, "make_longlong2(1, 1ll << 40).y": 2**40,
    "make_double2(1, 2).x": 1, "dim3(2, 3).z": 1,
}  # fmt: skip


def test_values_known_in_advance() -> None:
    np.testing.assert_array_equal(evaluate(list(VALUES)), list(VALUES.values()))


def test_a_product_and_a_sum_are_contracted_unless_asked_otherwise() -> None:
    x = float(np.float32(1 + 2**-12))
    given = "volatile float v = 1.0f + 0x1p-12f; const float x = v, z = v, y = 1.0f + 0x1p-11f;"
    fused, rounded = evaluate(["x * x - y", "__fmul_rn(z, z) - y"], given=given)
    assert fused == x * x - (1 + 2**-11) != 0
    assert rounded == 0


def test_cached_loads_and_stores() -> None:
    loads, stores = (
        ("__ldg", "__ldca", "__ldcg", "__ldcs", "__ldcv", "__ldlu"),
        ("__stcg", "__stcs", "__stwb", "__stwt"),
    )
    lines = [f"y[{i}] = {load}(x + {i});" for i, load in enumerate(loads)]
    lines += [f"{store}(y + {len(loads) + i}, x[{len(loads) + i}]);" for i, store in enumerate(stores)]
    source = f'extern "C" __global__ void copy(const float4* x, float4* y) {{ {" ".join(lines)} }}'
    x, y = normal(10, 4), empty((10, 4))
    Module(source).get_function("copy")((1,), (1,), (x, y))
    np.testing.assert_array_equal(x, y)


# ---- warps and blocks


TYPES = {"int": "i4", "unsigned": "u4", "long long": "i8", "float": "f4", "double": "f8"}


def by_lane(expressions: list[str], type_name: str = "unsigned", threads: int = 32) -> Array:
    """The values of expressions of `lane` in each lane; T in them is any of the types, which are compiled together."""
    lines = "\n".join(
        f"out[{i} * blockDim.x + lane] = {expression};" for i, expression in enumerate(expressions)
    )
    source = f"template <class T> __global__ void lanes(T* out) {{ const int lane = threadIdx.x;\n{lines}\n}}"
    module = Module(source, names=[f"lanes<{name}>" for name in TYPES], mode="check")
    out = empty((len(expressions), threads), TYPES[type_name])
    module.get_function(f"lanes<{type_name}>")((1,), (threads,), (out,))
    return out


LANE = np.arange(32)
SHUFFLES: dict[str, Callable[[int], Array]] = {
    "__shfl_sync(~0u, value, 5, width)": lambda width: LANE // width * width + 5 % width,
    "__shfl_sync(~0u, value, lane + 1, width)": lambda width: LANE // width * width + (LANE + 1) % width,
    "__shfl_xor_sync(~0u, value, 1, width)": lambda width: LANE ^ 1,
    "__shfl_xor_sync(~0u, value, width / 2, width)": lambda width: LANE ^ (width // 2),
    "__shfl_up_sync(~0u, value, 3, width)": lambda width: np.where(LANE % width < 3, LANE, LANE - 3),
    "__shfl_down_sync(~0u, value, 3, width)": lambda width: np.where(
        LANE % width + 3 >= width, LANE, LANE + 3
    ),
}


@pytest.mark.parametrize("type_name", TYPES)
def test_shuffles(type_name: str) -> None:
    for width in (4, 32):
        calls = [call.replace("value", "T(lane * 10)").replace("width", str(width)) for call in SHUFFLES]
        expected = [source_lane(width) * 10 for source_lane in SHUFFLES.values()]
        np.testing.assert_array_equal(by_lane(calls, type_name), expected)


def test_votes() -> None:
    expected = {
        "__ballot_sync(~0u, lane % 2)": 0xAAAAAAAA,
        "__any_sync(~0u, lane == 7)": 1,
        "__any_sync(~0u, lane == 77)": 0,
        "__all_sync(~0u, lane < 32)": 1,
        "__all_sync(~0u, lane < 31)": 0,
    }
    halves = "lane < 16 ? __ballot_sync(0xffff, 1) : __ballot_sync(0xffff0000, 1)"
    got = by_lane([*expected, halves])
    assert got[:-1].tolist() == [[value] * 32 for value in expected.values()]
    assert got[-1].tolist() == [0xFFFF] * 16 + [0xFFFF0000] * 16


def test_a_lane_that_takes_no_part_gives_nan() -> None:
    (given,) = by_lane(["lane < 16 ? __shfl_sync(0xffff, T(1), lane + 8) : T(2)"], "float")
    assert np.isnan(given[8:16]).all()
    assert (given[:8] == 1).all()


def test_barriers_that_count() -> None:
    expected = {
        "__syncthreads_count(lane < 40)": 40,
        "__syncthreads_or(lane == 63)": 1,
        "__syncthreads_or(0)": 0,
        "__syncthreads_and(lane < 63)": 0,
        "__syncthreads_and(1)": 1,
    }
    got = by_lane(list(expected), threads=64)
    assert got.tolist() == [[value] * 64 for value in expected.values()]


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_atomics(mode: str) -> None:
    source = """
    extern "C" __global__ void meet(int* i, unsigned* u, unsigned long long* l, float* f, double* d) {
      const int n = blockIdx.x * blockDim.x + threadIdx.x;
      atomicAdd(&i[0], n); atomicSub(&i[1], 1); atomicMax(&i[2], n); atomicMin(&i[3], -n);
      atomicOr(&u[0], 1u << n % 32); atomicAnd(&u[1], ~(1u << n % 16)); atomicXor(&u[2], 1u); atomicInc(&u[3], 9u);
      atomicDec(&u[4], 9u); atomicExch(&u[5], 7u);
      atomicAdd(&l[0], 1ull << 40);
      if (atomicCAS(&u[6], 0u, unsigned(n) + 1) == 0u) atomicAdd(&u[7], 1u);
      atomicAdd(f, 0.5f); atomicAdd(d, 0.25);
    }"""
    i, u, wide = zeros(4, np.int32), zeros(8, np.uint32), zeros(1, np.uint64)
    u[1] = 0xFFFFFFFF
    f, d = zeros(1), zeros(1, np.float64)
    Module(source, mode=mode).get_function("meet")((3,), (32,), (i, u, wide, f, d))
    assert i.tolist() == [95 * 96 // 2, -96, 95, -95]
    assert u[:6].tolist() == [0xFFFFFFFF, 0xFFFF0000, 0, 96 % 10, 10 - 96 % 10, 7]
    assert 1 <= u[6] <= 96
    assert u[7] == 1
    assert (wide[0], f[0], d[0]) == (96 << 40, 48, 24)


def test_cooperative_groups_know_their_ranks() -> None:
    source = """
    #include <cooperative_groups.h>
    namespace cg = cooperative_groups;
    extern "C" __global__ void ranks(int* out) {
      const cg::grid_group grid = cg::this_grid();
      const cg::thread_block block = cg::this_thread_block();
      const auto tile = cg::tiled_partition<8>(block);
      int* own = out + 8 * grid.thread_rank();
      own[0] = grid.size(); own[1] = grid.block_rank(); own[2] = block.thread_rank(); own[3] = block.size();
      own[4] = tile.thread_rank(); own[5] = tile.meta_group_rank();
      own[6] = tile.meta_group_size(); own[7] = tile.size();
      tile.sync();
      block.sync();
    }"""
    out = empty((48, 8), np.int32)
    Module(source, mode="check").get_function("ranks")((3,), (16,), (out,))
    thread = np.arange(48)
    expected = [np.full(48, 48), thread // 16, thread % 16, np.full(48, 16), thread % 8, thread % 16 // 8]
    np.testing.assert_array_equal(out.T, [*expected, np.full(48, 2), np.full(48, 8)])


# ---- two-byte floats


TWO_BYTE = """
#include <cuda_bf16.h>
template <class T> __global__ void convert(const float* x, T* y, float* back, int n) {
  for (int i = 0; i < n; ++i) {
    y[i] = T(x[i]);
    back[i] = float(y[i]);
  }
}
template <class T> __global__ void compute(const T* a, const T* b, T* out) {
  const int i = threadIdx.x, n = blockDim.x;
  T sum = a[i];
  sum += b[i];
  out[i] = sum;
  out[n + i] = a[i] * b[i] - a[i] / b[i];
  out[2 * n + i] = __hfma(a[i], b[i], a[i]);
  out[3 * n + i] = a[i] < b[i] ? __hmax(a[i], b[i]) : __hmin(a[i], b[i]);
}
"""
EDGES = np.array(
    [0, -0.0, 1, 1 + 2**-8, 1 + 2**-9, 1 + 3 * 2**-9, 65504, 65520, 1e-8, -6e-8, 1e38, 3.4e38], np.float32
)


def two_byte_numbers(type_name: str) -> tuple[Array, Callable[[Array], Array]]:
    """Numbers to convert, and how NumPy rounds them: what comes back is float64."""
    x = np.concatenate([EDGES, normal(1000), normal(1000, scale=1e-4)])
    if type_name == "__half":
        with np.errstate(over="ignore"):
            return x, lambda v: v.astype(np.float16).astype(np.float64)
    return x, lambda v: bfloat16(v.astype(np.float32))[1]


@pytest.mark.parametrize(("type_name", "dtype"), [("__half", "f2"), ("__nv_bfloat16", "u2")])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_two_byte_floats_are_rounded_as_numpy_rounds(type_name: str, dtype: str) -> None:
    x, rounded = two_byte_numbers(type_name)
    module = Module(TWO_BYTE, names=[f"convert<{type_name}>", f"compute<{type_name}>"])
    y, back = empty(x.size, dtype), empty(x.size)
    module.get_function(f"convert<{type_name}>")((1,), (1,), (x, y, back, np.int32(x.size)))
    np.testing.assert_array_equal(back, rounded(x))

    a, b = rounded(normal(64)), rounded(normal(64, seed=1))
    bits = [bfloat16(v.astype(np.float32))[0] if dtype == "u2" else v.astype(dtype) for v in (a, b)]
    out = empty((4, 64), dtype)
    module.get_function(f"compute<{type_name}>")((1,), (64,), (*bits, out))
    got = (out.astype(np.uint32) << 16).view(np.float32) if dtype == "u2" else out.astype(np.float32)
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    difference = rounded(a32 * b32).astype(np.float32) - rounded(a32 / b32).astype(np.float32)
    expected = [
        a32 + b32,
        difference,
        (a * b + a).astype(np.float32),
        np.where(a < b, np.maximum(a, b), np.minimum(a, b)),
    ]
    np.testing.assert_array_equal(got, [rounded(np.asarray(row, np.float32)) for row in expected])


def test_pairs_of_two_byte_floats() -> None:
    expected = {
        "__bfloat162float(__float2bfloat16(1.5f))": 1.5,
        "__half2float(__float2half_rn(0.1f))": float(np.float16(0.1)),
        "__bfloat16_as_ushort(__float2bfloat16_rn(-2.0f))": 0xC000,
        "__ushort_as_bfloat16(0x4040)": 3,
        "__half_as_ushort(__ushort_as_half(0x3c01))": 0x3C01,
        "__low2float(__floats2bfloat162_rn(1.0f, 2.0f))": 1,
        "__high2float(__float22half2_rn(make_float2(1.0f, 2.0f)))": 2,
        "__bfloat1622float2(__halves2bfloat162(__float2bfloat16(1.0f), __float2bfloat16(4.0f))).y": 4,
        "__half22float2(__floats2half2_rn(1.0f, 5.0f)).y": 5,
        "sizeof(__nv_bfloat162)": 4,
        "alignof(__half2)": 4,
        "__hisnan(__float2bfloat16(__int_as_float(0x7fffffff)))": 1,
    }
    np.testing.assert_array_equal(
        evaluate(list(expected), includes="#include <cuda_bf16.h>"), list(expected.values())
    )
