// dl_df = dl_dh * activation'(f) for rows x cols, and its sums over the rows: in two stages or with atomics.
#include "common.cuh"

constexpr int TILE_COLS = 32, TILE_ROWS = 8;

// Block (x, y) sums a share of the rows into partial[y].
template <Activation activation>
__global__ void __launch_bounds__(TILE_COLS * TILE_ROWS)
    activation_backward(const float* __restrict__ dl_dh, const float* __restrict__ f, float* __restrict__ dl_df,
                        float* __restrict__ partial, int rows, int cols) {
  __shared__ float tile[TILE_ROWS][TILE_COLS + 1];
  const int col = blockIdx.x * TILE_COLS + threadIdx.x;
  float sum = 0.0f;
  if (col < cols) {
    for (int row = blockIdx.y * TILE_ROWS + threadIdx.y; row < rows; row += gridDim.y * TILE_ROWS) {
      const long long i = (long long)row * cols + col;
      const float gradient = dl_dh[i] * derivative<activation>(f[i]);
      dl_df[i] = gradient;
      sum += gradient;
    }
  }
  tile[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && col < cols) {
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < TILE_ROWS; ++k) total += tile[k][threadIdx.x];
    partial[(long long)blockIdx.y * cols + col] = total;
  }
}

// One warp sums a column of the partial sums.
extern "C" __global__ void __launch_bounds__(256)
    sum_partial(const float* __restrict__ partial, float* __restrict__ dl_dbeta, int parts, int cols) {
  const int col = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x & 31;
  if (col >= cols) return;  // whole warps leave together
  float sum = 0.0f;
  for (int part = lane; part < parts; part += 32) sum += partial[(long long)part * cols + col];
  sum = warp_sum(sum);
  if (lane == 0) dl_dbeta[col] = sum;
}

extern "C" __global__ void __launch_bounds__(256)
    sum_atomic(const float* __restrict__ dl_df, float* __restrict__ dl_dbeta, int rows, int cols) {
  extern __shared__ float sums[];
  for (int col = threadIdx.x; col < cols; col += blockDim.x) sums[col] = 0.0f;
  __syncthreads();
  const long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < (long long)rows * cols; i += stride) {
    atomicAdd(&sums[i % cols], dl_df[i]);
  }
  __syncthreads();
  for (int col = threadIdx.x; col < cols; col += blockDim.x) atomicAdd(&dl_dbeta[col], sums[col]);
}
