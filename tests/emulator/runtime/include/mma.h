#pragma once
#include "cuda_bf16.h"
// nvcuda::wmma 16x16x16, float accumulator.  The element-to-lane map is unspecified in CUDA; any map will do, so lane L holds
// elements L, L+32, ... of the row-major tile.  Every operation is a warp collective, so a diverged warp is reported.
namespace nvcuda { namespace wmma {
struct matrix_a; struct matrix_b; struct accumulator; struct row_major; struct col_major; enum layout_t { mem_row_major, mem_col_major };
template <class Use, int M, int N, int K, class T, class L = void> struct fragment {
  static_assert(M == 16 && N == 16 && K == 16); static constexpr int num_elements = 8; T x[8]; };
inline void sync_(const char* w, cuda_emulator::Loc l) { l.what = w; char c; cuda_emulator::warp_collective(l, 0xffffffffu, [](void* const*, unsigned) {}, &c); }
template <class U, class T, class L> void fill_fragment(fragment<U, 16, 16, 16, T, L>& f, T v) { for (T& e : f.x) e = v; }
template <class U, class T, class L> void load_matrix_sync(fragment<U, 16, 16, 16, T, L>& f, const T* p, unsigned ld, cuda_emulator::Loc l = {""}) {
  if ((uintptr_t)p % 32 || ld * sizeof(T) % 16) cuda_emulator::fail("load_matrix_sync: pointer must be 32-byte aligned and ld a multiple of 16 bytes");
  sync_("load_matrix_sync", l);
  for (int i = 0; i < 8; ++i) { int e = i * 32 + cuda_emulator::cur->lane, r = e / 16, c = e % 16; f.x[i] = std::is_same_v<L, col_major> ? p[c * ld + r] : p[r * ld + c]; } }
template <class T> void store_matrix_sync(T* p, const fragment<accumulator, 16, 16, 16, T>& f, unsigned ld, layout_t o, cuda_emulator::Loc l = {""}) {
  if ((uintptr_t)p % 32 || ld * sizeof(T) % 16) cuda_emulator::fail("store_matrix_sync: pointer must be 32-byte aligned and ld a multiple of 16 bytes");
  sync_("store_matrix_sync", l);
  for (int i = 0; i < 8; ++i) { int e = i * 32 + cuda_emulator::cur->lane, r = e / 16, c = e % 16; p[o == mem_row_major ? r * ld + c : c * ld + r] = f.x[i]; } }
template <class T> struct Args { const T *a, *b; const float* c; float* d; };
template <class T, class LA, class LB> void mma_sync(fragment<accumulator, 16, 16, 16, float>& d, const fragment<matrix_a, 16, 16, 16, T, LA>& a,
    const fragment<matrix_b, 16, 16, 16, T, LB>& b, const fragment<accumulator, 16, 16, 16, float>& c, cuda_emulator::Loc l = {"mma_sync"}) {
  Args<T> g{a.x, b.x, c.x, d.x};
  cuda_emulator::warp_collective(l, 0xffffffffu, [](void* const* lane, unsigned) {
    float A[256], B[256]; auto at = [&](int i) { return static_cast<Args<T>*>(lane[i % 32]); };
    for (int e = 0; e < 256; ++e) { A[e] = at(e)->a[e / 32]; B[e] = at(e)->b[e / 32]; }
    float D[256];
    for (int e = 0; e < 256; ++e) { float s = 0; for (int k = 0; k < 16; ++k) s += A[e / 16 * 16 + k] * B[k * 16 + e % 16]; D[e] = at(e)->c[e / 32] + s; }
    for (int e = 0; e < 256; ++e) at(e)->d[e / 32] = D[e]; }, &g); }
}}
