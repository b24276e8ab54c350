// What compiled kernels and the runtime agree on: everything here is defined in the runtime's .cpp files.
#pragma once

namespace cuda_emulator {

// std::type_identity_t, which C++17 lacks: keeps a parameter out of the deduction of T.
template <class T>
struct identity_of {
  using type = T;
};
template <class T>
using identity = typename identity_of<T>::type;

// Where a thread called a function of CUDA's: as a defaulted parameter it is filled in at the call.
struct Location {
  const char* file;
  int line;
  const char* what;

  Location(const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : file(file), line(line), what(what) {}
};

// The thread that runs, as threadIdx and the others show it.
struct ThreadContext {
  uint3 thread_index, block_index;
  dim3 block_size, grid_size;
  unsigned lane;
  unsigned rank;  // in the block
};
extern ThreadContext* current;

// Ends the launch with a message that names the thread.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

enum class Vote { none, count, all, any };
int block_barrier(Location, Vote, int predicate);
void grid_barrier(Location);
void memory_fence();
void give_way();  // lets other threads run

// Called once for all lanes of the mask, by the last to arrive; lane[i] is what lane i gave as its own.
using WarpFunction = void (*)(void* const* lane, unsigned mask);
void warp_collective(Location, unsigned mask, WarpFunction, void* own);
unsigned active_mask();

void* static_shared_memory(const void* key, size_t bytes);
void* dynamic_shared_memory_start();

void before_atomic(const void* address, size_t bytes);

// cp.async: bytes are written to shared memory, of which source_bytes come from the source and the rest are zero.
void async_copy(void* destination, const void* source, int bytes, int source_bytes);
void async_commit();
void async_wait(int groups_still_open);
void async_wait_all();

// The block's variable of this type. A type belongs to one declaration (see tests/emulator/translate.py).
template <class Declaration>
inline Declaration& shared_variable() {
  static const char key = 0;
  return *static_cast<Declaration*>(static_shared_memory(&key, sizeof(Declaration)));
}

template <class T>
inline T* dynamic_shared_memory() {
  return static_cast<T*>(dynamic_shared_memory_start());
}

}  // namespace cuda_emulator

#define threadIdx (cuda_emulator::current->thread_index)
#define blockIdx (cuda_emulator::current->block_index)
#define blockDim (cuda_emulator::current->block_size)
#define gridDim (cuda_emulator::current->grid_size)
constexpr int warpSize = 32;
