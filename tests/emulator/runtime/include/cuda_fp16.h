#pragma once
struct __half { unsigned short b; __half() = default; __half(float f) { _Float16 h = (_Float16)f; memcpy(&b, &h, 2); }
  explicit __half(double f) : __half((float)f) {} explicit __half(int i) : __half((float)i) {}
  operator float() const { _Float16 h; memcpy(&h, &b, 2); return (float)h; } };
struct __half2 { alignas(4) __half x; __half y; };
using half = __half; using half2 = __half2;
inline __half __float2half(float f) { return f; }
inline __half __float2half_rn(float f) { return f; }
inline float __half2float(__half h) { return h; }
inline __half2 __floats2half2_rn(float a, float b) { return {a, b}; }
inline float2 __half22float2(__half2 h) { return {h.x, h.y}; }
#define EMULATOR_H(T, X) \
  inline T operator+(T a, T b) { return (float)a + (float)b; } inline T operator-(T a, T b) { return (float)a - (float)b; } \
  inline T operator*(T a, T b) { return (float)a * (float)b; } inline T operator/(T a, T b) { return (float)a / (float)b; } \
  inline T __hadd(T a, T b) { return a + b; } inline T __hmul(T a, T b) { return a * b; } inline T __hsub(T a, T b) { return a - b; } \
  inline T __hfma(T a, T b, T c) { return (float)((double)(float)a * (double)(float)b + (double)(float)c); } \
  inline T __hmax(T a, T b) { return fmaxf(a, b); } inline bool __hgt(T a, T b) { return (float)a > (float)b; }
EMULATOR_H(__half, 2)
template <> struct cuda_emulator::kind_of<__half> { static constexpr const char* name = "half"; };
