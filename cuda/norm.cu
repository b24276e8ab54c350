// g <- g min(1, largest / (||g|| + 1e-6)), the norm over all parameters together (Pascanu et al., 2013): three launches.
//
// Shapes: gradients g_n (N,), partial sums of squares partial_p (P,), one for each block of the first launch.
#include "maths.cuh"
#include "packs.cuh"
#include "sums.cuh"

// partial_p = sum of g_n^2 over the elements of block p. Grid: P blocks.
template <class T>
__global__ void __launch_bounds__(256, 1) squares(const T* g_n, T* partial_p, long long N) {
  T sum = T(0);
  for_each<T>(N, aligned(g_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<T, COUNT> g = load<COUNT>(g_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) sum += g.at[i] * g.at[i];
  });
  sum = block_reduce<Sum>(sum, T(0));
  if (threadIdx.x == 0) partial_p[blockIdx.x] = sum;
}

// norm = sqrt(sum of partial_p), coefficient = min(1, largest / (norm + 1e-6)). One block.
template <class T>
__global__ void __launch_bounds__(256, 1) clip_coefficient(const T* partial_p, T* norm, T* coefficient, T largest, int P) {
  T sum = T(0);
  for (int p = threadIdx.x; p < P; p += blockDim.x) sum += partial_p[p];
  sum = block_reduce<Sum>(sum, T(0));
  if (threadIdx.x == 0) {
    *norm = maths::sqrt(sum);
    *coefficient = maths::minimum(largest / (*norm + T(1e-6)), T(1));
  }
}

// g_n *= coefficient
template <class T>
__global__ void __launch_bounds__(256, 1) scale(T* g_n, const T* coefficient, long long N) {
  const T factor = *coefficient;
  for_each<T>(N, aligned(g_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> g = load<COUNT>(g_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) g.at[i] *= factor;
    store(g_n + n, g);
  });
}
