#pragma once
#include "cuda_bf16.h"
namespace cuda_emulator {
template <class T> inline float half_at(const unsigned* r, int i) { T h; memcpy(&h, (const char*)r + 2 * i, 2); return h; }
struct MmaArgs { const unsigned *a, *b; float* d; const float* c; };
// mma.sync.aligned.m16n8k16.row.col.f32.{f16,bf16}.{f16,bf16}.f32: fragment maps as in the PTX ISA
template <class T> inline void mma_m16n8k16(float* d, const unsigned* a, const unsigned* b, const float* c, Loc l = {"mma.m16n8k16"}) {
  MmaArgs g{a, b, d, c};
  warp_collective(l, 0xffffffffu, [](void* const* lane, unsigned) {
    float A[16][16], B[16][8], D[16][8];
    for (int L = 0; L < 32; ++L) { auto* m = static_cast<MmaArgs*>(lane[L]); int g = L >> 2, q = L & 3;
      for (int i = 0; i < 8; ++i) A[g + (i >> 1 & 1) * 8][q * 2 + (i & 1) + (i >> 2) * 8] = half_at<T>(m->a, i);
      for (int i = 0; i < 4; ++i) B[q * 2 + (i & 1) + (i >> 1) * 8][g] = half_at<T>(m->b, i);
      for (int i = 0; i < 4; ++i) D[g + (i >> 1) * 8][q * 2 + (i & 1)] = m->c[i]; }
    for (auto r = 0; r < 16; ++r) for (int n = 0; n < 8; ++n) { float s = 0; for (int k = 0; k < 16; ++k) s += A[r][k] * B[k][n]; D[r][n] += s; }
    for (int L = 0; L < 32; ++L) { auto* m = static_cast<MmaArgs*>(lane[L]); int g = L >> 2, q = L & 3;
      for (int i = 0; i < 4; ++i) m->d[i] = D[g + (i >> 1) * 8][q * 2 + (i & 1)]; } }, &g); }
struct LdArgs { const char* row; unsigned* r; };
template <int N, bool Trans> inline void ldmatrix(unsigned* r, uintptr_t row, Loc l = {"ldmatrix"}) {
  if (row % 16) fail("ldmatrix: row address not 16-byte aligned");
  LdArgs g{(const char*)row, r};
  warp_collective(l, 0xffffffffu, [](void* const* lane, unsigned) {
    for (int m = 0; m < N; ++m) for (int L = 0; L < 32; ++L) for (int h = 0; h < 2; ++h) {
      int R = L >> 2, C = (L & 3) * 2 + h; if (Trans) std::swap(R, C);
      memcpy((char*)(static_cast<LdArgs*>(lane[L])->r + m) + 2 * h, static_cast<LdArgs*>(lane[m * 8 + R])->row + 2 * C, 2); } }, &g); }
}
