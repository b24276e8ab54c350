// Data races: two accesses to a byte by different threads, one of them a write, with nothing that orders them.
//
// What orders an access before another:
// - in a block, a barrier of the block between them: each thread counts those it has left (its epoch);
// - in a warp, a collective in which both threads take part: each thread knows up to which clock it has seen each lane;
// - between blocks, a grid barrier; or a fence and an atomic after the first access, and an atomic on the same address
//   before the second one (a ticket, a flag).
// This is less than CUDA's memory model: that an atomic without a fence after it is too weak to acquire is not seen.
#include "state.hpp"

namespace cuda_emulator {

// In the place of a reader, when there is more than one. Several warps are those of one block: its rank is read_clock.
constexpr uint32_t several_warps = 0xffffffffu;
constexpr uint32_t several_blocks = 0xfffffffeu;

static std::unordered_map<const void*, std::unordered_map<uint32_t, Release>> released;  // by address and block

// An atomic makes what its block did before its fence visible to whoever sees it.
static void release_at(const void* address, Thread* thread) {
  const uint32_t epoch = std::max(thread->fence_epoch, thread->block->fenced_epoch);
  released[address][thread->block->rank] = {epoch, thread->id, thread->fence_clock};
}

static void acquire_from(const void* address, Thread* thread) {
  auto found = released.find(address);
  if (found == released.end()) return;
  for (auto& [rank, release] : found->second) {
    if (rank != thread->block->rank) thread->block->acquired[rank] = release;
  }
}

void memory_fence() {
  Thread* thread = this_thread();
  thread->fence_epoch = thread->epoch;
  thread->fence_clock = thread->clock++;
  thread->has_unfenced_writes = false;
}

struct PastAccess {
  uint32_t id, clock, epoch;
  uint16_t at_grid_epoch;
};

static bool comes_before(const PastAccess& past, const Thread* thread) {
  if (past.id == thread->id || past.at_grid_epoch != uint16_t(grid_epoch)) return true;
  const Block& block = *thread->block;
  const unsigned block_threads = block.threads.size();
  const uint32_t past_block = past.id / block_threads;
  if (past_block != block.rank) {
    auto acquired = block.acquired.find(past_block);
    if (acquired == block.acquired.end()) return false;
    const Release& release = acquired->second;
    return past.epoch < release.epoch || (past.id == release.id && past.clock <= release.clock);
  }
  if (past.epoch < thread->epoch) return true;
  const unsigned rank = past.id % block_threads;
  return rank / warp_lanes == thread->rank / warp_lanes && past.clock <= thread->seen[rank % warp_lanes];
}

static bool has_acquired_from_all(const Block& block) { return block.acquired.size() + 1 == config.blocks(); }

// Those reads of a byte that its cell remembers.
static bool reads_come_before(const Cell& cell, const Thread* thread) {
  if (cell.read_grid_epoch != uint16_t(grid_epoch)) return true;
  const Block& block = *thread->block;
  if (cell.reader == several_blocks) return has_acquired_from_all(block);
  if (cell.reader == several_warps) {
    const uint32_t readers_block = cell.read_clock;
    if (readers_block == block.rank) return cell.read_epoch < thread->epoch;
    auto acquired = block.acquired.find(readers_block);
    return acquired != block.acquired.end() && cell.read_epoch < acquired->second.epoch;
  }
  return comes_before({cell.reader - 1, cell.read_clock, cell.read_epoch, cell.read_grid_epoch}, thread);
}

static std::string name_of_id(uint32_t id) {
  const uint64_t threads = config.threads_per_block();
  return "block " + std::to_string(id / threads) + " thread " + std::to_string(id % threads);
}

struct Access {
  Thread* thread;
  bool is_write;
  AccessKind kind;
  bool is_shared;
  void* pc;

  // Ends a message: the line, which Python makes of the pc, or the collective that made the access for its lanes.
  std::string where() const {
    char text[40];
    snprintf(text, sizeof text, "  [pc %p]", pc);
    return thread->state == State::at_warp_collective ? "  [" + text_of(thread->at) + "]" : text;
  }
};

static std::string describe_place(const Access& access, const char* address) {
  if (!access.is_shared) return "global memory, " + describe_address(address);
  return "shared memory, offset " + std::to_string(address - access.thread->block->shared);
}

[[noreturn]] static void report_race(const char* what, const Access& access, const char* address,
                                     const std::string& with) {
  fail("data race (%s) on %s: with %s, no barrier between%s", what, describe_place(access, address).c_str(),
       with.c_str(), access.where().c_str());
}

static void check_against_write(const Cell& cell, const Access& access, const char* address) {
  if (!cell.writer || (access.kind && cell.write_kind)) return;
  const PastAccess write{cell.writer - 1, cell.write_clock, cell.write_epoch, cell.write_grid_epoch};
  if (!comes_before(write, access.thread)) {
    report_race(access.is_write ? "write after write" : "read after write", access, address, name_of_id(write.id));
  }
}

static void check_against_reads(const Cell& cell, const Access& access, const char* address) {
  if (!cell.reader || (access.kind && cell.read_kind) || reads_come_before(cell, access.thread)) return;
  report_race("write after read", access, address,
              cell.reader == several_blocks  ? "several blocks"
              : cell.reader == several_warps ? "several warps"
                                             : name_of_id(cell.reader - 1));
}

static void note_write(Cell& cell, const Access& access) {
  cell.writer = access.thread->id + 1;
  cell.write_clock = access.thread->clock;
  cell.write_epoch = access.thread->epoch;
  cell.write_grid_epoch = grid_epoch;
  cell.write_kind = access.kind;
  cell.reader = 0;
}

// A read takes the place of those that come before it: who is ordered after this one is ordered after them. Of
// unordered reads in one warp the last is remembered, and of others that there were several.
static void note_read(Cell& cell, const Access& access) {
  const Thread* thread = access.thread;
  const uint32_t rank = thread->block->rank;
  const uint32_t block_threads = thread->block->threads.size();
  if (cell.reader && !reads_come_before(cell, thread)) {
    const bool by_warps = cell.reader == several_warps;
    const uint32_t reader = cell.reader - 1;
    const bool other_block =
        cell.reader == several_blocks || (by_warps ? cell.read_clock : reader / block_threads) != rank;
    const bool other_warp = by_warps || reader % block_threads / warp_lanes != thread->rank / warp_lanes;
    if (other_block || other_warp) {
      cell.reader = other_block ? several_blocks : several_warps;
      cell.read_clock = rank;
      cell.read_epoch = thread->epoch;
      cell.read_kind = std::min<uint8_t>(cell.read_kind, access.kind);
      return;
    }
  }
  cell.reader = thread->id + 1;
  cell.read_clock = thread->clock;
  cell.read_epoch = thread->epoch;
  cell.read_grid_epoch = grid_epoch;
  cell.read_kind = access.kind;
}

// Compares an access to these bytes with those before it, and notes it in their cells.
static void track(Cell* cell, size_t bytes, const char* address, const Access& access) {
  const bool reads = !access.is_write || access.kind == atomic_access;
  for (size_t i = 0; i < bytes; ++i, ++cell, ++address) {
    if (access.is_shared && reads && !cell->writer) {
      const long offset = address - access.thread->block->shared;
      fail("read of shared memory that nobody has written, offset %ld%s", offset, access.where().c_str());
    }
    check_against_write(*cell, access, address);
    if (access.is_write) {
      check_against_reads(*cell, access, address);
      note_write(*cell, access);
    } else {
      note_read(*cell, access);
    }
  }
}

}  // namespace cuda_emulator
