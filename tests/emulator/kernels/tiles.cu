// Sums over tiles of a warp, tile t t mod 5 + 1 times: the tiles of a warp do different numbers of shuffles.
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

template <unsigned Size>
__global__ void tile_sums(const float* x, float* y) {
  const auto tile = cg::tiled_partition<Size>(cg::this_thread_block());
  float sum = x[threadIdx.x];
  const int repetitions = int(threadIdx.x / Size) % 5 + 1;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (int offset = Size / 2; offset; offset >>= 1) sum += tile.shfl_xor(sum, offset);
  }
  y[threadIdx.x] = sum;
}
