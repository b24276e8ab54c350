#pragma once
namespace cooperative_groups {
struct grid_group { void sync(cuda_emulator::Loc l = {"grid.sync"}) const { cuda_emulator::grid_barrier(l); }
  unsigned long long thread_rank() const { return block_rank() * cuda_emulator::cur->bdim.x * cuda_emulator::cur->bdim.y * cuda_emulator::cur->bdim.z + cuda_emulator::cur->lin; }
  unsigned long long block_rank() const { return blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + (unsigned long long)gridDim.y * blockIdx.z); }
  unsigned long long size() const { return num_blocks() * blockDim.x * blockDim.y * blockDim.z; }
  unsigned long long num_blocks() const { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; } };
struct thread_block { void sync(cuda_emulator::Loc l = {"block.sync"}) const { cuda_emulator::block_barrier(l, 0, 0); }
  unsigned thread_rank() const { return cuda_emulator::cur->lin; } unsigned size() const { return blockDim.x * blockDim.y * blockDim.z; } };
inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }
template <unsigned N> struct tile { unsigned base = cuda_emulator::cur->lane & ~(N - 1);
  unsigned mask() const { return (N == 32 ? 0xffffffffu : ((1u << (N & 31)) - 1)) << base; }
  unsigned thread_rank() const { return cuda_emulator::cur->lane % N; } static constexpr unsigned size() { return N; }
  unsigned meta_group_rank() const { return cuda_emulator::cur->lin / N; }
  void sync(cuda_emulator::Loc l = {"tile.sync"}) const { __syncwarp(mask(), l); }
  template <class T> T shfl(T v, int s, cuda_emulator::Loc l = {"tile.shfl"}) const { return __shfl_sync(mask(), v, s, N, l); }
  template <class T> T shfl_down(T v, unsigned d, cuda_emulator::Loc l = {"tile.shfl_down"}) const { return __shfl_down_sync(mask(), v, d, N, l); }
  template <class T> T shfl_xor(T v, unsigned x, cuda_emulator::Loc l = {"tile.shfl_xor"}) const { return __shfl_xor_sync(mask(), v, x, N, l); } };
template <unsigned N> inline tile<N> tiled_partition(const thread_block&) { return {}; }
}
