// What the files of the runtime share: threads, blocks and the launch that is under way. One launch runs at a time.
#pragma once

// The system's headers come first: __noinline__ and others mean something to them.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include "device/qualifiers.hpp"
#include "device/vector_types.hpp"
#include "device/runtime_interface.hpp"

namespace cuda_emulator {

constexpr size_t page_bytes = 4096;
constexpr unsigned warp_lanes = 32;
constexpr unsigned all_lanes = 0xffffffffu;
constexpr unsigned max_threads = 1024;  // of a block

// The limits of compute capability 9.0.
constexpr size_t max_static_shared_bytes = 48 << 10;
constexpr size_t max_shared_bytes = 227 << 10;
constexpr uint64_t max_cooperative_blocks = 132;

// ---- the launch: LaunchConfig and Statistics are mirrored in tests/emulator/native.py

enum Order { forward, backward, shuffled, shuffled_warps };

struct LaunchConfig {
  unsigned grid[3], block[3];
  uint64_t dynamic_shared_bytes, largest_dynamic_shared_bytes, seed;
  uint64_t first_block, block_count;  // of the grid, those that run
  double preemption, timeout_seconds;
  int order, cooperative, check_accesses;

  uint64_t threads_per_block() const { return uint64_t(block[0]) * block[1] * block[2]; }
  uint64_t blocks() const { return uint64_t(grid[0]) * grid[1] * grid[2]; }
};

struct Statistics {
  uint64_t switches, static_shared_bytes, barriers, collectives, blocks;
};

using Entry = void (*)(void** arguments);

static LaunchConfig config;
static Statistics statistics;
static Entry entry;
static void** entry_arguments;
static std::string error;             // the first thing that went wrong
static bool running = false;
static sigjmp_buf leave_launch;       // where a failing thread jumps to
static unsigned grid_epoch = 0;       // how many grid barriers there were

// ---- threads and blocks

enum class State : uint8_t { ready, running, at_block_barrier, at_warp_collective, at_grid_barrier, done };

struct Stack {
  char* start;
  size_t bytes;

  bool contains(const char* address) const { return address >= start && address < start + bytes; }
};

struct Block;

struct AsyncCopy {
  char* destination;
  const char* source;
  int bytes, source_bytes;
  void* pc;
};

struct Thread : ThreadContext {
  State state = State::ready;
  Block* block = nullptr;
  void* stack_pointer = nullptr;      // null until it first runs
  Stack stack{};
  void* sanitizer_stack = nullptr;

  // Where it waits, and for whom.
  Location at{"start"};
  int predicate = 0;
  unsigned collective_mask = 0;
  WarpFunction collective = nullptr;
  void* collective_own = nullptr;

  // What happened before what (races.cpp).
  uint32_t id = 0;                    // in the grid
  uint32_t clock = 1;                 // counts barriers, collectives and fences of this thread
  uint32_t epoch = 0;                 // barriers of the block that this thread has left
  uint32_t seen[warp_lanes]{};        // of each lane of the warp the clock up to which its accesses come before
  uint32_t fence_epoch = 0, fence_clock = 0;
  bool has_unfenced_writes = false;

  std::vector<std::vector<AsyncCopy>> copy_groups;  // the last one is still open
};

// Who last wrote and read one byte.
struct Cell {
  uint32_t writer, write_clock, write_epoch;  // writer and reader: the thread's id + 1, 0 for nobody
  uint32_t reader, read_clock, read_epoch;
  uint16_t write_grid_epoch, read_grid_epoch;
  uint8_t write_kind, read_kind;
};

// How far a block's accesses are visible to who has seen an atomic of it.
struct Release {
  uint32_t epoch;      // everything before this barrier of the block
  uint32_t id, clock;  // and what this thread did before its fence
};

struct SharedVariable {
  size_t offset, bytes;
};

struct WaitingLanes {
  unsigned mask = 0, arrived = 0;
};

struct Block {
  uint3 index{};
  uint32_t rank = 0;  // in the grid
  std::vector<Thread> threads;
  std::vector<Thread*> turn, next_turn;
  unsigned alive = 0;

  unsigned at_barrier = 0, at_grid_barrier = 0;
  Location barrier_location{""};
  Vote barrier_vote = Vote::none;
  int barrier_result = 0;
  WaitingLanes waiting[max_threads / warp_lanes];

  char* shared = nullptr;
  std::unordered_map<const void*, SharedVariable> shared_variables;
  size_t static_end = 0;
  size_t touched_below = 0, touched_above = 0;  // of the last block that used this memory

  uint32_t epoch = 0;
  uint32_t fenced_epoch = 0;  // the last barrier at which no thread had unfenced writes
  std::unordered_map<uint32_t, Release> acquired;  // by the rank of the block that released
  std::vector<Cell> static_cells, dynamic_cells;
};

inline Thread* this_thread() { return static_cast<Thread*>(current); }

// Synchronizing accesses may meet without being ordered.
enum AccessKind : uint8_t { plain, volatile_access, atomic_access };

// ---- what one file calls in a later one

static void check_access(const void* address, size_t bytes, bool is_write, AccessKind kind, void* pc);
static std::string describe_address(const void* address);

// ---- messages

static std::string name_of(const Thread* thread) {
  char text[128];
  const auto& b = thread->block_index;
  const auto& t = thread->thread_index;
  snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", b.x, b.y, b.z, t.x, t.y, t.z);
  return text;
}

static std::string text_of(const Location& location) {
  return std::string(location.what) + " at " + location.file + ":" + std::to_string(location.line);
}

static void set_error(const std::string& message) {
  if (error.empty()) error = message;
}

// ---- chance: xorshift64, seeded by the launch

static uint64_t random_state = 1;

static uint64_t next_random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static double random_fraction() { return (next_random() >> 11) * 0x1p-53; }

template <class T>
static void shuffle_in_place(std::vector<T>& items) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[next_random() % i]);
}

}  // namespace cuda_emulator
