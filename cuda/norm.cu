// Clipping: g <- g min(1, largest / (||g|| + 1e-6)), the norm over all parameters together (Pascanu et al., 2013): three launches.
//
// An L2 penalty of the weights: L <- L + alpha / (2 total) ||w||^2, g <- g + alpha / total w: two launches.
//
// The scale S of a loss in half precision: g <- g / S, and whether every gradient is finite: two launches.
//
// Shapes: gradients g_n (N,), partial sums of squares partial_p (P,), one for each block of the first launch.
#include "maths.cuh"
#include "packs.cuh"
#include "sums.cuh"

// The sum of partial_p, which every thread of the one block gets.
template <class T>
__device__ T total(const T* partial_p, int P) {
  T sum = T(0);
  for (int p = threadIdx.x; p < P; p += blockDim.x) sum += partial_p[p];
  return block_reduce<Sum>(sum, T(0));
}

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

// g_n += alpha / total w_n, and partial_p the sums of w_n^2.
template <class T>
__global__ void __launch_bounds__(256, 1)
    penalize(const T* w_n, T* g_n, const T* total, T alpha, T* partial_p, long long N) {
  const T coefficient = alpha / *total;
  T sum = T(0);
  for_each<T>(N, aligned(w_n, g_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<T, COUNT> w = load<COUNT>(w_n + n);
    Pack<T, COUNT> g = load<COUNT>(g_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      g.at[i] += coefficient * w.at[i];
      sum += w.at[i] * w.at[i];
    }
    store(g_n + n, g);
  });
  sum = block_reduce<Sum>(sum, T(0));
  if (threadIdx.x == 0) partial_p[blockIdx.x] = sum;
}

// loss += alpha / (2 total) times the sum of partial_p. One block.
template <class T>
__global__ void __launch_bounds__(256, 1) add_penalty(const T* partial_p, const T* divisor, T alpha, T* loss, int P) {
  const T sum = total(partial_p, P);
  if (threadIdx.x == 0) *loss += T(0.5) * (alpha / *divisor) * sum;
}

// g_n /= scale, and partial_p as in `squares`.
template <class T>
__global__ void __launch_bounds__(256, 1) unscale(T* g_n, const T* scale, T* partial_p, long long N) {
  const T divisor = *scale;
  T sum = T(0);
  for_each<T>(N, aligned(g_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> g = load<COUNT>(g_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      g.at[i] /= divisor;
      sum += g.at[i] * g.at[i];
    }
    store(g_n + n, g);
  });
  sum = block_reduce<Sum>(sum, T(0));
  if (threadIdx.x == 0) partial_p[blockIdx.x] = sum;
}

// skip says that the sum of partial_p is not finite, skipped how often it was not. Then the scale is halved; after
// `growth` steps without that it is doubled; it stays between smallest and largest. One block.
template <class T>
__global__ void __launch_bounds__(256, 1) adjust_scale(
    const T* partial_p, T* scale, int* steps, int* skip, int* skipped, int growth, T smallest, T largest, int P) {
  const T sum = total(partial_p, P);
  if (threadIdx.x != 0) return;
  const bool finite = sum - sum == T(0);
  const int good = finite ? *steps + 1 : 0;
  *skip = finite ? 0 : 1;
  if (!finite) *skipped += 1;
  const T next = *scale * (!finite ? T(0.5) : good >= growth ? T(2) : T(1));
  *scale = maths::minimum(maths::maximum(next, smallest), largest);
  *steps = good >= growth ? 0 : good;
}

// norm = sqrt(sum of partial_p), coefficient = min(1, largest / (norm + 1e-6)). One block.
template <class T>
__global__ void __launch_bounds__(256, 1) clip_coefficient(const T* partial_p, T* norm, T* coefficient, T largest, int P) {
  const T sum = total(partial_p, P);
  if (threadIdx.x == 0) {
    *norm = maths::sqrt(sum);
    const T shrink = largest / (*norm + T(1e-6));
    *coefficient = shrink < T(1) ? shrink : T(1);  // 1 where the norm is NaN
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
