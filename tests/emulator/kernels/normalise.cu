// x /= sum(x) in one cooperative launch: all blocks sum, then each uses the total.
#include <cooperative_groups.h>

#include "common.cuh"

namespace cg = cooperative_groups;

extern "C" __global__ void __launch_bounds__(128)
    normalise(float* __restrict__ x, float* __restrict__ partial, long long n) {
  __shared__ float sum_of_warp[4];
  const cg::grid_group grid = cg::this_grid();
  const long long stride = (long long)gridDim.x * blockDim.x;
  const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0.0f;
  for (long long i = first; i < n; i += stride) sum += x[i];
  sum = warp_sum(sum);
  if ((threadIdx.x & 31) == 0) sum_of_warp[threadIdx.x >> 5] = sum;
  __syncthreads();
  if (threadIdx.x == 0) partial[blockIdx.x] = sum_of_warp[0] + sum_of_warp[1] + sum_of_warp[2] + sum_of_warp[3];
  grid.sync();
  float total = 0.0f;
  for (unsigned block = 0; block < gridDim.x; ++block) total += partial[block];
  for (long long i = first; i < n; i += stride) x[i] /= total;
}
