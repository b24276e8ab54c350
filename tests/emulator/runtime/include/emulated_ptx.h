// What a kernel calls in the place of inline PTX. Fragments are laid out as the PTX manual says.
#pragma once

#include "cuda_bf16.h"

namespace cuda_emulator {

struct MmaOperands {
  const unsigned *a, *b;
  float* d;
  const float* c;
};

template <class T>
inline float element_of(const unsigned* registers, int index) {
  T element;
  memcpy(&element, reinterpret_cast<const char*>(registers) + 2 * index, 2);
  return element;
}

template <class T>
void multiply_m16n8k16(void* const* lane, unsigned) {
  float a[16][16], b[16][8], d[16][8];
  for (int i = 0; i < 32; ++i) {
    const auto* own = static_cast<MmaOperands*>(lane[i]);
    const int group = i >> 2, pair = (i & 3) * 2;
    for (int e = 0; e < 8; ++e) a[group + (e >> 1 & 1) * 8][pair + (e & 1) + (e >> 2) * 8] = element_of<T>(own->a, e);
    for (int e = 0; e < 4; ++e) b[pair + (e & 1) + (e >> 1) * 8][group] = element_of<T>(own->b, e);
    for (int e = 0; e < 4; ++e) d[group + (e >> 1) * 8][pair + (e & 1)] = own->c[e];
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      d[row][column] += sum;
    }
  }
  for (int i = 0; i < 32; ++i) {
    const auto* own = static_cast<MmaOperands*>(lane[i]);
    const int group = i >> 2, pair = (i & 3) * 2;
    for (int e = 0; e < 4; ++e) own->d[e] = d[group + (e >> 1) * 8][pair + (e & 1)];
  }
}

// mma.sync.aligned.m16n8k16.row.col.f32.T.T.f32, d = a b + c
template <class T>
inline void mma_m16n8k16(float* d, const unsigned* a, const unsigned* b, const float* c,
                         Location location = {"mma.m16n8k16"}) {
  MmaOperands own{a, b, d, c};
  warp_collective(location, 0xffffffffu, multiply_m16n8k16<T>, &own);
}

struct MatrixLoad {
  const char* row;
  unsigned* registers;
};

template <int Matrices, bool Transposed>
void load_matrices(void* const* lane, unsigned) {
  for (int matrix = 0; matrix < Matrices; ++matrix) {
    for (int i = 0; i < 32; ++i) {
      auto* registers = static_cast<MatrixLoad*>(lane[i])->registers + matrix;
      for (int half = 0; half < 2; ++half) {
        int row = i >> 2, column = (i & 3) * 2 + half;
        if (Transposed) std::swap(row, column);
        const char* source = static_cast<MatrixLoad*>(lane[matrix * 8 + row])->row;
        memcpy(reinterpret_cast<char*>(registers) + 2 * half, source + 2 * column, 2);
      }
    }
  }
}

// ldmatrix.sync.aligned.m8n8.xMatrices[.trans].shared.b16: lanes 8 m to 8 m + 7 give the rows of matrix m
template <int Matrices, bool Transposed>
inline void ldmatrix(unsigned* registers, const void* row, Location location = {"ldmatrix"}) {
  if (reinterpret_cast<uintptr_t>(row) % 16) fail("ldmatrix: the address of a row is not a multiple of 16");
  MatrixLoad own{static_cast<const char*>(row), registers};
  warp_collective(location, 0xffffffffu, load_matrices<Matrices, Transposed>, &own);
}

}  // namespace cuda_emulator
