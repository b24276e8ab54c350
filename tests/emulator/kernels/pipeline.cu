// y = 2 x through two buffers in shared memory: a tile of 128 is fetched with cp.async while the one before it is used.
#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(32) pipeline(const float* x, float* y, int tiles) {
  __shared__ __align__(16) float buffer[2][128];
  const int thread = threadIdx.x;
  cp_async16(&buffer[0][thread * 4], x + thread * 4);
  cp_async_commit();
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) cp_async16(&buffer[(tile + 1) & 1][thread * 4], x + (tile + 1) * 128 + thread * 4);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    for (int i = thread; i < 128; i += 32) y[tile * 128 + i] = 2.0f * buffer[tile & 1][i];
    __syncthreads();
  }
}
