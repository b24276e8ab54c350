// Barriers of a block, and fences.
#pragma once

inline void __syncthreads(cuda_emulator::Location location = {"__syncthreads"}) {
  cuda_emulator::block_barrier(location, cuda_emulator::Vote::none, 0);
}

inline int __syncthreads_count(int predicate, cuda_emulator::Location location = {"__syncthreads_count"}) {
  return cuda_emulator::block_barrier(location, cuda_emulator::Vote::count, predicate);
}

inline int __syncthreads_and(int predicate, cuda_emulator::Location location = {"__syncthreads_and"}) {
  return cuda_emulator::block_barrier(location, cuda_emulator::Vote::all, predicate);
}

inline int __syncthreads_or(int predicate, cuda_emulator::Location location = {"__syncthreads_or"}) {
  return cuda_emulator::block_barrier(location, cuda_emulator::Vote::any, predicate);
}

// A fence of the block alone orders nothing between blocks.
inline void __threadfence_block() {}

inline void __threadfence() {
  cuda_emulator::memory_fence();
}

inline void __threadfence_system() {
  cuda_emulator::memory_fence();
}

inline void __nanosleep(unsigned) {
  cuda_emulator::give_way();
}

inline void __trap() {
  cuda_emulator::fail("__trap() executed");
}
