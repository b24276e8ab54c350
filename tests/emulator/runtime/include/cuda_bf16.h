#pragma once
#include "cuda_fp16.h"
struct __nv_bfloat16 { unsigned short b; __nv_bfloat16() = default;
  __nv_bfloat16(float f) { unsigned u = emulator_bits<unsigned>(f); b = f != f ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16; }   // round to nearest even
  explicit __nv_bfloat16(double f) : __nv_bfloat16((float)f) {}
  operator float() const { return emulator_bits<float>((unsigned)b << 16); } };
struct __nv_bfloat162 { alignas(4) __nv_bfloat16 x; __nv_bfloat16 y; };
inline __nv_bfloat16 __float2bfloat16(float f) { return f; }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return f; }
inline float __bfloat162float(__nv_bfloat16 h) { return h; }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {a, b}; }
inline float2 __bfloat1622float2(__nv_bfloat162 h) { return {h.x, h.y}; }
EMULATOR_H(__nv_bfloat16, 2)
template <> struct cuda_emulator::kind_of<__nv_bfloat16> { static constexpr const char* name = "bfloat16"; };
