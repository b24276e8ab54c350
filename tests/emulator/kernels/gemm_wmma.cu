// c = a b for a of m x k and b of k x n in bfloat16, row-major, summed in float with nvcuda::wmma: one warp for a tile
// of 16 x 16. m, n and k are multiples of 16.
#include <cuda_bf16.h>
#include <mma.h>

extern "C" __global__ void __launch_bounds__(32)
    gemm_wmma(const __nv_bfloat16* __restrict__ a, const __nv_bfloat16* __restrict__ b, float* __restrict__ c, int m,
              int n, int k) {
  using namespace nvcuda::wmma;
  fragment<accumulator, 16, 16, 16, float> sums;
  fill_fragment(sums, 0.0f);
  const long long first_row = blockIdx.y * 16, first_col = blockIdx.x * 16;
  for (int first_k = 0; first_k < k; first_k += 16) {
    fragment<matrix_a, 16, 16, 16, __nv_bfloat16, row_major> tile_a;
    fragment<matrix_b, 16, 16, 16, __nv_bfloat16, row_major> tile_b;
    load_matrix_sync(tile_a, a + first_row * k + first_k, k);
    load_matrix_sync(tile_b, b + (long long)first_k * n + first_col, n);
    mma_sync(sums, tile_a, tile_b, sums);
  }
  store_matrix_sync(c + first_row * n + first_col, sums, n, mem_row_major);
}
