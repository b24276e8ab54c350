// dL/dbeta_o = sum_b dL/df_bo: the sums of columns, in a fixed order and without atomics, a half type's in float.
//
// Two launches: with P blocks over the rows every block leaves its own sums in one row of partial_po, and the same kernel
// with one block over the rows sums those. Block (columns, rows), both powers of 2; grid (columns, P).
#include "halves.cuh"

template <class T, class C>
__global__ void __launch_bounds__(256, 1) column_sums(const T* values_bo, C* sums_po, long long B, int O) {
  __shared__ C of_thread[256];
  const int o = blockIdx.x * blockDim.x + threadIdx.x, thread = threadIdx.y * blockDim.x + threadIdx.x;
  C sum = C(0);
  if (o < O) {
    const long long rows = (long long)gridDim.y * blockDim.y;
    for (long long b = (long long)blockIdx.y * blockDim.y + threadIdx.y; b < B; b += rows) sum += C(values_bo[b * O + o]);
  }
  of_thread[thread] = sum;
  __syncthreads();
  for (int rows = blockDim.y / 2; rows > 0; rows /= 2) {
    if (threadIdx.y < rows) of_thread[thread] += of_thread[thread + rows * blockDim.x];
    __syncthreads();
  }
  if (threadIdx.y == 0 && o < O) sums_po[(long long)blockIdx.y * O + o] = of_thread[thread];
}
