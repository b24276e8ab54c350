// nvcuda::wmma for tiles of 16 x 16 x 16 with a float accumulator.
//
// CUDA leaves open which lane holds which element, so any choice will do: lane l has elements l, l + 32, ... of the
// tile in row-major order. Every function is a collective, so a diverged warp is reported.
#pragma once

#include "cuda_bf16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static_assert(M == 16 && N == 16 && K == 16, "the emulator knows tiles of 16 x 16 x 16");
  static constexpr int num_elements = 8;
  T x[num_elements];
};

template <class T>
inline void meet(const char* what, const T* tile, unsigned stride, cuda_emulator::Location location) {
  if (reinterpret_cast<uintptr_t>(tile) % 32 || stride * sizeof(T) % 16) {
    cuda_emulator::fail("%s: the pointer must be a multiple of 32 bytes and the stride of 16", what);
  }
  location.what = what;
  cuda_emulator::warp_collective(location, 0xffffffffu, cuda_emulator::do_nothing, nullptr);
}

template <class Use, class T, class Layout>
void fill_fragment(fragment<Use, 16, 16, 16, T, Layout>& tile, T value) {
  for (T& element : tile.x) element = value;
}

template <class Use, class T, class Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& tile, const T* source, unsigned stride,
                      cuda_emulator::Location location = {""}) {
  meet("load_matrix_sync", source, stride, location);
  for (int i = 0; i < tile.num_elements; ++i) {
    const int element = i * 32 + cuda_emulator::current->lane, row = element / 16, column = element % 16;
    tile.x[i] = std::is_same_v<Layout, col_major> ? source[column * stride + row] : source[row * stride + column];
  }
}

template <class T>
void store_matrix_sync(T* target, const fragment<accumulator, 16, 16, 16, T>& tile, unsigned stride, layout_t layout,
                       cuda_emulator::Location location = {""}) {
  meet("store_matrix_sync", target, stride, location);
  for (int i = 0; i < tile.num_elements; ++i) {
    const int element = i * 32 + cuda_emulator::current->lane, row = element / 16, column = element % 16;
    target[layout == mem_row_major ? row * stride + column : column * stride + row] = tile.x[i];
  }
}

template <class T>
struct Operands {
  const T *a, *b;
  const float* c;
  float* d;
};

template <class T>
void multiply_tiles(void* const* lane, unsigned) {
  float a[256], b[256], d[256];
  auto owner = [&](int element) { return static_cast<Operands<T>*>(lane[element % 32]); };
  for (int e = 0; e < 256; ++e) {
    a[e] = owner(e)->a[e / 32];
    b[e] = owner(e)->b[e / 32];
  }
  for (int e = 0; e < 256; ++e) {
    float sum = 0;
    for (int k = 0; k < 16; ++k) sum += a[e / 16 * 16 + k] * b[k * 16 + e % 16];
    d[e] = owner(e)->c[e / 32] + sum;
  }
  for (int e = 0; e < 256; ++e) owner(e)->d[e / 32] = d[e];
}

template <class T, class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d, const fragment<matrix_a, 16, 16, 16, T, LayoutA>& a,
              const fragment<matrix_b, 16, 16, 16, T, LayoutB>& b, const fragment<accumulator, 16, 16, 16, float>& c,
              cuda_emulator::Location location = {"mma_sync"}) {
  Operands<T> own{a.x, b.x, c.x, d.x};
  cuda_emulator::warp_collective(location, 0xffffffffu, multiply_tiles<T>, &own);
}

}  // namespace wmma
}  // namespace nvcuda
