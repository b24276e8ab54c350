// What prepares a mini-batch, and the clock that tells every kernel which step it is.
#include "halves.cuh"
#include "packs.cuh"
#include "sums.cuh"

// The values in another type.
template <class To, class From, int COUNT>
__device__ Pack<To, COUNT> cast(const Pack<From, COUNT>& from) {
  Pack<To, COUNT> to;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) to.at[i] = To(from.at[i]);
  return to;
}

// out_bd = rows_nd[index_b]. Grid: x over packs of columns, y over rows; any size.
template <class T, class To>
__device__ void gather(const T* rows_nd, const long long* index_b, To* out_bd, long long B, int D) {
  for_each_column<T>(D, aligned(rows_nd, out_bd), [&](auto count, int d) {
    constexpr int COUNT = decltype(count)::value;
    for_each_row(B, [&](long long b) {
      store(out_bd + b * D + d, cast<To>(load<COUNT>(rows_nd + index_b[b] * D + d)));
    });
  });
}

// The rows of any index.
template <class T, class To>
__global__ void __launch_bounds__(256, 1)
    gather_rows(const T* rows_nd, const long long* index_b, To* out_bd, long long B, int D) {
  gather(rows_nd, index_b, out_bd, B, D);
}

// The mini-batch number `position` of an epoch of batches of `batch` rows: index_b = order_s[position batch + b].
template <class T, class To>
__global__ void __launch_bounds__(256, 1)
    gather_batch(const T* rows_nd, const long long* order_s, const long long* position, To* out_bd, long long batch,
                 long long B, int D) {
  gather(rows_nd, order_s + *position * batch, out_bd, B, D);
}

// s_b = w_b / sum(w); all 0 and the total infinite where the weights sum to less than `smallest`, the least normal
// number. One block.
template <class T>
__global__ void __launch_bounds__(1024, 1)
    row_shares(const T* weights_b, T* total, T* share_b, T smallest, T infinity, long long B) {
  T sum = T(0);
  for (long long b = threadIdx.x; b < B; b += blockDim.x) sum += weights_b[b];
  sum = block_reduce<Sum>(sum, T(0));
  if (sum < smallest) sum = infinity;
  for (long long b = threadIdx.x; b < B; b += blockDim.x) share_b[b] = weights_b[b] / sum;
  if (threadIdx.x == 0) *total = sum;
}

// clock_c = table_sc[position], the numbers of this step of an epoch. One thread.
extern "C" __global__ void load_clock(const double* table_sc, const long long* position, double* clock_c, long long C) {
  for (long long c = 0; c < C; ++c) clock_c[c] = table_sc[*position * C + c];
}

// losses_s[position] = loss, and on to the next step. One thread.
template <class T>
__global__ void __launch_bounds__(32, 1) end_step(const T* loss, T* losses_s, long long* position) {
  losses_s[*position] = *loss;
  ++*position;
}

// clock_c = the eight numbers of one step. One thread.
extern "C" __global__ void set_clock(double* clock_c, double step, double rate, double shrink, double penalty,
                                     double own0, double own1, double own2, double own3) {
  const double values[8] = {step, rate, shrink, penalty, own0, own1, own2, own3};
  for (int c = 0; c < 8; ++c) clock_c[c] = values[c];
}
