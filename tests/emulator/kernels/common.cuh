#pragma once
#ifndef CUDA_EMULATOR
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#endif
enum { ACT_ID = 0, ACT_RELU = 1, ACT_TANH = 2, ACT_GELU = 3, ACT_SILU = 4 };

template <int ACT> __device__ __forceinline__ float act_fwd(float z) {
  if constexpr (ACT == ACT_RELU) return fmaxf(z, 0.0f);
  else if constexpr (ACT == ACT_TANH) return tanhf(z);
  else if constexpr (ACT == ACT_GELU) return 0.5f * z * (1.0f + erff(z * 0.70710678f));
  else if constexpr (ACT == ACT_SILU) return z / (1.0f + __expf(-z));
  else return z;
}
template <int ACT> __device__ __forceinline__ float act_bwd(float z) {   // derivative at the pre-activation
  if constexpr (ACT == ACT_RELU) return z > 0.0f ? 1.0f : 0.0f;
  else if constexpr (ACT == ACT_TANH) { float t = tanhf(z); return 1.0f - t * t; }
  else if constexpr (ACT == ACT_GELU) return 0.5f * (1.0f + erff(z * 0.70710678f)) + z * 0.39894228f * __expf(-0.5f * z * z);
  else if constexpr (ACT == ACT_SILU) { float s = 1.0f / (1.0f + __expf(-z)); return s * (1.0f + z * (1.0f - s)); }
  else return 1.0f;
}
template <class T> __device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}
