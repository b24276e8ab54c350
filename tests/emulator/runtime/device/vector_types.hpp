// float4 and its kin, with CUDA's sizes and alignments.
#pragma once

#define CUDA_EMULATOR_VECTOR_TYPES(T, PREFIX)          \
  struct PREFIX##1 {                                   \
    T x;                                               \
  };                                                   \
  struct alignas(2 * sizeof(T)) PREFIX##2 {            \
    T x, y;                                            \
  };                                                   \
  struct PREFIX##3 {                                   \
    T x, y, z;                                         \
  };                                                   \
  struct alignas(sizeof(T) < 4 ? 4 * sizeof(T) : 16) PREFIX##4 { \
    T x, y, z, w;                                      \
  };                                                   \
  inline PREFIX##1 make_##PREFIX##1(T x) {             \
    return {x};                                        \
  }                                                    \
  inline PREFIX##2 make_##PREFIX##2(T x, T y) {        \
    return {x, y};                                     \
  }                                                    \
  inline PREFIX##3 make_##PREFIX##3(T x, T y, T z) {   \
    return {x, y, z};                                  \
  }                                                    \
  inline PREFIX##4 make_##PREFIX##4(T x, T y, T z, T w) { \
    return {x, y, z, w};                               \
  }

CUDA_EMULATOR_VECTOR_TYPES(signed char, char)
CUDA_EMULATOR_VECTOR_TYPES(unsigned char, uchar)
CUDA_EMULATOR_VECTOR_TYPES(short, short)
CUDA_EMULATOR_VECTOR_TYPES(unsigned short, ushort)
CUDA_EMULATOR_VECTOR_TYPES(int, int)
CUDA_EMULATOR_VECTOR_TYPES(unsigned, uint)
CUDA_EMULATOR_VECTOR_TYPES(long long, longlong)
CUDA_EMULATOR_VECTOR_TYPES(unsigned long long, ulonglong)
CUDA_EMULATOR_VECTOR_TYPES(float, float)
CUDA_EMULATOR_VECTOR_TYPES(double, double)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
