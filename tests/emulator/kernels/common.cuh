// Activations with their derivatives, and sums over a warp.
#pragma once

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

enum Activation { identity, relu, hyperbolic_tangent, gelu, silu };

template <Activation activation>
__device__ __forceinline__ float activate(float f) {
  if constexpr (activation == relu) {
    return fmaxf(f, 0.0f);
  } else if constexpr (activation == hyperbolic_tangent) {
    return tanhf(f);
  } else if constexpr (activation == gelu) {
    return 0.5f * f * (1.0f + erff(f * 0.70710678f));
  } else if constexpr (activation == silu) {
    return f / (1.0f + __expf(-f));
  } else {
    return f;
  }
}

template <Activation activation>
__device__ __forceinline__ float derivative(float f) {
  if constexpr (activation == relu) {
    return f > 0.0f ? 1.0f : 0.0f;
  } else if constexpr (activation == hyperbolic_tangent) {
    const float h = tanhf(f);
    return 1.0f - h * h;
  } else if constexpr (activation == gelu) {
    return 0.5f * (1.0f + erff(f * 0.70710678f)) + f * 0.39894228f * __expf(-0.5f * f * f);
  } else if constexpr (activation == silu) {
    const float s = 1.0f / (1.0f + __expf(-f));
    return s * (1.0f + f * (1.0f - s));
  } else {
    return 1.0f;
  }
}

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int offset = 16; offset; offset >>= 1) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset; offset >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}
