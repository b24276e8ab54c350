// One warp per row: loss = logsumexp(x) - x[label]; dl_dx = (softmax(x) - onehot(label)) * scale.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(128)
    softmax_cross_entropy(const float* __restrict__ x, const int* __restrict__ label, float* __restrict__ loss,
                          float* __restrict__ dl_dx, int rows, int cols, float scale) {
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) >> 5;
  const int lane = threadIdx.x & 31;
  if (row >= rows) return;
  x += (long long)row * cols;
  dl_dx += (long long)row * cols;
  float largest = -INFINITY;
  for (int col = lane; col < cols; col += 32) largest = fmaxf(largest, x[col]);
  largest = warp_max(largest);
  float sum = 0.0f;
  for (int col = lane; col < cols; col += 32) sum += __expf(x[col] - largest);
  sum = warp_sum(sum);
  const int target = label[row];
  for (int col = lane; col < cols; col += 32) {
    dl_dx[col] = (__expf(x[col] - largest) / sum - (col == target ? 1.0f : 0.0f)) * scale;
  }
  if (lane == 0) loss[row] = logf(sum) + largest - x[target];
}
