// The losses: every row's l_b, and dL/df_bo = s_b dl_b/df_bo with s_b the row's share of the mean (1 / B, or w_b / sum w);
// then L = sum_b s_b l_b in a second launch.
//
// A row belongs to a group of `lanes` neighbouring threads, a power of 2 up to 32, or to a whole block (WIDE). Block 256.
#include "maths.cuh"
#include "sums.cuh"

namespace loss {

// l = sum_o (f - y)^2
struct squared_error {
  template <class T>
  static __device__ T value(T f, T y, T) { return (f - y) * (f - y); }
  template <class T>
  static __device__ T gradient(T f, T y, T) { return T(2) * (f - y); }
};

// l = sum_o |f - y|
struct absolute_error {
  template <class T>
  static __device__ T value(T f, T y, T) { return maths::absolute(f - y); }
  template <class T>
  static __device__ T gradient(T f, T y, T) { return maths::sign(f - y); }
};

// l = sum_o q (|e| - q / 2), e = f - y, q = min(|e|, delta) (Huber, 1964)
struct huber {
  template <class T>
  static __device__ T value(T f, T y, T delta) {
    const T error = maths::absolute(f - y), clipped = maths::minimum(error, delta);
    return clipped * error - T(0.5) * (clipped * clipped);
  }
  template <class T>
  static __device__ T gradient(T f, T y, T delta) { return maths::minimum(maths::maximum(f - y, -delta), delta); }
};

// l = sum_o (1 - q) e above the target and -q e below it, e = f - y (Koenker and Bassett, 1978)
struct quantile {
  template <class T>
  static __device__ T value(T f, T y, T q) { return maths::maximum(-q * (f - y), (T(1) - q) * (f - y)); }
  template <class T>
  static __device__ T gradient(T f, T y, T q) { return T(0.5) * maths::sign(f - y) + (T(0.5) - q); }
};

// l = sum_o exp(f) - y f; above f = 50 exp goes on along its tangent
struct poisson {
  static constexpr double LARGEST_LOG_RATE = 50.0;
  template <class T>
  static __device__ T rate(T f) { return maths::exp(maths::minimum(f, T(LARGEST_LOG_RATE))); }
  template <class T>
  static __device__ T value(T f, T y, T) {
    return rate(f) * (f - maths::minimum(f, T(LARGEST_LOG_RATE)) + T(1)) - y * f;
  }
  template <class T>
  static __device__ T gradient(T f, T y, T) { return rate(f) - y; }
};

// l = sum_o max(f, 0) - y f + log(1 + exp(-|f|)): logits f, y in [0, 1]
struct binary_cross_entropy {
  template <class T>
  static __device__ T value(T f, T y, T) {
    return maths::maximum(f, T(0)) - y * f + maths::log1p_exp_minus_absolute(f);
  }
  template <class T>
  static __device__ T gradient(T f, T y, T) { return maths::sigmoid(f) - y; }
};

}  // namespace loss

// The row this thread works on, its place in the row's group, and how many rows a step of the grid takes.
template <bool WIDE>
struct Row {
  int lane, lanes;
  long long b, rows_at_once;
  __device__ explicit Row(int group)
      : lane(WIDE ? threadIdx.x : threadIdx.x % group),
        lanes(WIDE ? blockDim.x : group),
        b(WIDE ? blockIdx.x : ((long long)blockIdx.x * blockDim.x + threadIdx.x) / group),
        rows_at_once(WIDE ? gridDim.x : (long long)gridDim.x * blockDim.x / group) {}
  template <class T>
  __device__ T sum(T value) const { return WIDE ? block_reduce<Sum>(value, T(0)) : group_sum(value, lanes); }
  template <class T>
  __device__ T max(T value) const { return WIDE ? block_reduce<Max>(value, value) : group_max(value, lanes); }
};

// How many rounds all threads take together: lanes without a row of their own still take part in its sums.
__device__ inline long long rounds(long long B, long long rows_at_once) { return (B + rows_at_once - 1) / rows_at_once; }

// A loss that is a sum over the outputs of a function of f and y.
template <class T, class L, bool WIDE>
__global__ void __launch_bounds__(256, 1) summed_loss(const T* f_bo, const T* y_bo, const T* share_b, T* row_loss_b,
                                                     T* dl_df_bo, T constant, int group, long long B, int O) {
  Row<WIDE> row(group);
  for (long long round = rounds(B, row.rows_at_once); round > 0; --round, row.b += row.rows_at_once) {
    const bool has_row = row.b < B;
    const T share = has_row ? share_b[row.b] : T(0);
    T row_loss = T(0);
    for (int o = row.lane; has_row && o < O; o += row.lanes) {
      const long long n = row.b * O + o;
      const T f = f_bo[n], y = y_bo[n];
      row_loss += L::value(f, y, constant);
      dl_df_bo[n] = L::gradient(f, y, constant) * share;
    }
    row_loss = row.sum(row_loss);
    if (has_row && row.lane == 0) row_loss_b[row.b] = row_loss;
  }
}

// t_bo of labels y (B,) or probabilities y (B, O), smoothed to (1 - s) t + s / O (Szegedy et al., 2016).
template <class T>
__device__ T target(const long long* y_b, long long b, int o, int) { return y_b[b] == o ? T(1) : T(0); }
template <class T>
__device__ T target(const T* y_bo, long long b, int o, int O) { return y_bo[b * O + o]; }

// l = -sum_o t_o log p_o, p = softmax(f), dl/df = p - t; log p = z - log sum exp z, z = f - max f.
template <class T, bool WIDE, class Y>
__device__ void softmax_cross_entropy(const T* f_bo, const Y* y, const T* share_b, T* row_loss_b, T* dl_df_bo,
                                     T smoothing, int group, long long B, int O) {
  Row<WIDE> row(group);
  for (long long round = rounds(B, row.rows_at_once); round > 0; --round, row.b += row.rows_at_once) {
    const bool has_row = row.b < B;
    const T* f_o = f_bo + (has_row ? row.b * O : 0);
    T largest = f_o[row.lane < O ? row.lane : 0];
    for (int o = row.lane; has_row && o < O; o += row.lanes) largest = maths::maximum(f_o[o], largest);
    largest = row.max(largest);
    T sum = T(0);
    for (int o = row.lane; has_row && o < O; o += row.lanes) sum += maths::exp(f_o[o] - largest);
    sum = row.sum(sum);
    const T log_sum = maths::log(sum), share = has_row ? share_b[row.b] : T(0);
    T row_loss = T(0);
    for (int o = row.lane; has_row && o < O; o += row.lanes) {
      T t = target<T>(y, row.b, o, O);
      if (smoothing > T(0)) t = (T(1) - smoothing) * t + smoothing / T(O);
      const T z = f_o[o] - largest;
      row_loss += t * (log_sum - z);
      dl_df_bo[row.b * O + o] = (maths::exp(z) / sum - t) * share;
    }
    row_loss = row.sum(row_loss);
    if (has_row && row.lane == 0) row_loss_b[row.b] = row_loss;
  }
}

template <class T, bool WIDE>
__global__ void __launch_bounds__(256, 1) softmax_of_labels(const T* f_bo, const long long* y_b, const T* share_b,
                                                           T* row_loss_b, T* dl_df_bo, T smoothing, int group,
                                                           long long B, int O) {
  softmax_cross_entropy<T, WIDE>(f_bo, y_b, share_b, row_loss_b, dl_df_bo, smoothing, group, B, O);
}

template <class T, bool WIDE>
__global__ void __launch_bounds__(256, 1) softmax_of_probabilities(const T* f_bo, const T* y_bo, const T* share_b,
                                                                  T* row_loss_b, T* dl_df_bo, T smoothing, int group,
                                                                  long long B, int O) {
  softmax_cross_entropy<T, WIDE>(f_bo, y_bo, share_b, row_loss_b, dl_df_bo, smoothing, group, B, O);
}

// L = sum_b s_b l_b. One block.
template <class T>
__global__ void __launch_bounds__(1024, 1) mean_loss(const T* row_loss_b, const T* share_b, T* loss, long long B) {
  T sum = T(0);
  for (long long b = threadIdx.x; b < B; b += blockDim.x) sum += row_loss_b[b] * share_b[b];
  sum = block_reduce<Sum>(sum, T(0));
  if (threadIdx.x == 0) *loss = sum;
}
