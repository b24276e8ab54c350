// __half: IEEE 754 binary16, computed in float and rounded to nearest even after each operation.
#pragma once

struct __half {
  unsigned short bits;

  __half() = default;
  __half(float value) {
    const _Float16 rounded = static_cast<_Float16>(value);
    memcpy(&bits, &rounded, 2);
  }
  explicit __half(double value) : __half(static_cast<float>(value)) {}
  explicit __half(int value) : __half(static_cast<float>(value)) {}
  operator float() const {
    _Float16 value;
    memcpy(&value, &bits, 2);
    return value;
  }
};

struct alignas(4) __half2 {
  __half x, y;
};

using half = __half;
using half2 = __half2;

template <>
struct cuda_emulator::kind_of<__half> {
  static constexpr const char* name = "half";
};

inline __half __float2half(float value) { return value; }
inline __half __float2half_rn(float value) { return value; }
inline __half __double2half(double value) { return static_cast<float>(value); }
inline float __half2float(__half value) { return value; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) {
  __half value;
  value.bits = bits;
  return value;
}
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline __half2 __float22half2_rn(float2 value) { return {value.x, value.y}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline float2 __half22float2(__half2 value) { return {value.x, value.y}; }
inline float __low2float(__half2 value) { return value.x; }
inline float __high2float(__half2 value) { return value.y; }

// The arithmetic of a two-byte type T, used by cuda_bf16.h as well.
#define CUDA_EMULATOR_TWO_BYTE_ARITHMETIC(T)                                                \
  inline T operator+(T a, T b) { return float(a) + float(b); }                              \
  inline T operator-(T a, T b) { return float(a) - float(b); }                              \
  inline T operator*(T a, T b) { return float(a) * float(b); }                              \
  inline T operator/(T a, T b) { return float(a) / float(b); }                              \
  inline T operator-(T a) { return -float(a); }                                             \
  inline T& operator+=(T& a, T b) { return a = a + b; }                                     \
  inline T& operator-=(T& a, T b) { return a = a - b; }                                     \
  inline T& operator*=(T& a, T b) { return a = a * b; }                                     \
  inline T& operator/=(T& a, T b) { return a = a / b; }                                     \
  inline bool operator==(T a, T b) { return float(a) == float(b); }                         \
  inline bool operator!=(T a, T b) { return float(a) != float(b); }                         \
  inline bool operator<(T a, T b) { return float(a) < float(b); }                           \
  inline bool operator<=(T a, T b) { return float(a) <= float(b); }                         \
  inline bool operator>(T a, T b) { return float(a) > float(b); }                           \
  inline bool operator>=(T a, T b) { return float(a) >= float(b); }                         \
  inline T __hadd(T a, T b) { return a + b; }                                               \
  inline T __hsub(T a, T b) { return a - b; }                                               \
  inline T __hmul(T a, T b) { return a * b; }                                               \
  inline T __hdiv(T a, T b) { return a / b; }                                               \
  inline T __hneg(T a) { return -a; }                                                       \
  inline T __hfma(T a, T b, T c) { return float(double(float(a)) * float(b) + float(c)); }  \
  inline T __hmax(T a, T b) { return fmaxf(a, b); }                                         \
  inline T __hmin(T a, T b) { return fminf(a, b); }                                         \
  inline bool __hgt(T a, T b) { return a > b; }                                             \
  inline bool __hlt(T a, T b) { return a < b; }                                             \
  inline bool __heq(T a, T b) { return a == b; }                                            \
  inline bool __hisnan(T a) { return std::isnan(float(a)); }

CUDA_EMULATOR_TWO_BYTE_ARITHMETIC(__half)
