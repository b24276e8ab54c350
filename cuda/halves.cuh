// bfloat16 and half precision: two bytes in memory, computed with in float.
#pragma once

#ifdef CUDA_EMULATOR
#include <cuda_fp16.h>
#endif

// The upper half of a float: its range, and 8 bits of precision. Rounded to nearest, ties to even; NaN stays NaN.
struct bf16 {
  unsigned short bits;
  bf16() = default;
  __device__ explicit bf16(float x) {
    const unsigned whole = __float_as_uint(x);
    bits = x != x ? 0x7fff : (unsigned short)((whole + 0x7fff + (whole >> 16 & 1)) >> 16);
  }
  __device__ explicit operator float() const { return __uint_as_float((unsigned)bits << 16); }
};

// IEEE 754 binary16: up to 65504, 11 bits of precision. Rounded to nearest, ties to even; beyond its range infinity.
struct fp16 {
  unsigned short bits;
  fp16() = default;
#ifdef CUDA_EMULATOR
  explicit fp16(float x) : bits(__half_as_ushort(__float2half_rn(x))) {}
  explicit operator float() const { return __half2float(__ushort_as_half(bits)); }
#else
  __device__ explicit fp16(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
  __device__ explicit operator float() const {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
  }
#endif
};

// The type that elements of T are computed with.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<bf16> {
  using type = float;
};
template <>
struct ComputeType<fp16> {
  using type = float;
};
template <class T>
using Compute = typename ComputeType<T>::type;
