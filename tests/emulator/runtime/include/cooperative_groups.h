// Cooperative groups: the grid, the block and tiles of a warp.
#pragma once

namespace cooperative_groups {

struct grid_group {
  void sync(cuda_emulator::Location location = {"grid.sync"}) const {
    cuda_emulator::grid_barrier(location);
  }
  unsigned long long num_blocks() const {
    return (unsigned long long)gridDim.x * gridDim.y * gridDim.z;
  }
  unsigned long long num_threads() const {
    return num_blocks() * blockDim.x * blockDim.y * blockDim.z;
  }
  unsigned long long size() const { return num_threads(); }
  unsigned long long block_rank() const {
    return blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + (unsigned long long)gridDim.y * blockIdx.z);
  }
  unsigned long long thread_rank() const {
    return block_rank() * blockDim.x * blockDim.y * blockDim.z + cuda_emulator::current->rank;
  }
  bool is_valid() const { return true; }
};

struct thread_block {
  void sync(cuda_emulator::Location location = {"block.sync"}) const {
    cuda_emulator::block_barrier(location, cuda_emulator::Vote::none, 0);
  }
  unsigned num_threads() const { return blockDim.x * blockDim.y * blockDim.z; }
  unsigned size() const { return num_threads(); }
  unsigned thread_rank() const { return cuda_emulator::current->rank; }
  uint3 thread_index() const { return threadIdx; }
  uint3 group_index() const { return blockIdx; }
};

inline grid_group this_grid() { return {}; }
inline thread_block this_thread_block() { return {}; }

template <unsigned Size>
class thread_block_tile {
  static_assert(Size && Size <= 32 && (Size & (Size - 1)) == 0, "a tile has 1, 2, 4, 8, 16 or 32 threads");

  unsigned mask() const {
    const unsigned lanes = Size == 32 ? 0xffffffffu : (1u << (Size & 31)) - 1;
    return lanes << (cuda_emulator::current->lane & ~(Size - 1));
  }

 public:
  static constexpr unsigned size() { return Size; }
  static constexpr unsigned num_threads() { return Size; }
  unsigned thread_rank() const { return cuda_emulator::current->lane % Size; }
  unsigned meta_group_rank() const { return cuda_emulator::current->rank / Size; }
  unsigned meta_group_size() const { return (this_thread_block().size() + Size - 1) / Size; }

  void sync(cuda_emulator::Location location = {"tile.sync"}) const { __syncwarp(mask(), location); }

  template <class T>
  T shfl(T value, int source, cuda_emulator::Location location = {"tile.shfl"}) const {
    return __shfl_sync(mask(), value, source, Size, location);
  }
  template <class T>
  T shfl_up(T value, unsigned delta, cuda_emulator::Location location = {"tile.shfl_up"}) const {
    return __shfl_up_sync(mask(), value, delta, Size, location);
  }
  template <class T>
  T shfl_down(T value, unsigned delta, cuda_emulator::Location location = {"tile.shfl_down"}) const {
    return __shfl_down_sync(mask(), value, delta, Size, location);
  }
  template <class T>
  T shfl_xor(T value, unsigned lane_mask, cuda_emulator::Location location = {"tile.shfl_xor"}) const {
    return __shfl_xor_sync(mask(), value, lane_mask, Size, location);
  }
};

template <unsigned Size>
inline thread_block_tile<Size> tiled_partition(const thread_block&) {
  return {};
}

}  // namespace cooperative_groups
