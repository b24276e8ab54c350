// The shared memory of a block: full of 0xff (NaN) at its start, with gaps between the variables that nobody may touch.
//
// The arena holds the static variables at its lower end. The dynamic array ends at the arena's upper end, and beyond it
// lies memory that cannot be read or written.
#include "state.hpp"

namespace cuda_emulator {

constexpr size_t arena_bytes = 260 << 10;
constexpr size_t forbidden_bytes = 256 << 10;  // beyond the arena
constexpr size_t gap_bytes = 64;               // at least, between static variables
constexpr size_t variable_alignment = 128;
constexpr size_t watched_beyond_static = 4096;
constexpr size_t watched_before_dynamic = 2048;

static std::vector<char*> free_arenas;

static size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

static size_t dynamic_offset() { return arena_bytes - round_up(config.dynamic_shared_bytes, 16); }

void* dynamic_shared_memory_start() { return this_thread()->block->shared + dynamic_offset(); }

static char* take_arena() {
  if (!free_arenas.empty()) {
    char* arena = free_arenas.back();
    free_arenas.pop_back();
    return arena;
  }
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* mapped = mmap(nullptr, arena_bytes + forbidden_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapped == MAP_FAILED) fail("no memory for the shared memory of so many blocks at once");
  mprotect(static_cast<char*>(mapped) + arena_bytes, forbidden_bytes, PROT_NONE);
  return static_cast<char*>(mapped);
}

static void fill_gap(char* start, size_t bytes) {
  allow(start, bytes);
  memset(start, 0xff, bytes);
  forbid(start, bytes);
}

static void fill_variable(char* start, size_t bytes) {
  allow(start, bytes);
  memset(start, 0xff, bytes);
}

// As a new block finds it. Of an arena used before, only what that block may have touched is filled again.
static void prepare_shared_memory(Block& block) {
  const bool is_fresh = !block.shared;
  if (is_fresh) block.shared = take_arena();
  const size_t dynamic = round_up(config.dynamic_shared_bytes, 16) + watched_beyond_static;
  if (is_fresh) {
    fill_gap(block.shared, arena_bytes);
  } else {
    const size_t above = std::max(dynamic, block.touched_above);
    fill_gap(block.shared, std::min(std::max(block.touched_below, size_t(8192)), arena_bytes));
    fill_gap(block.shared + arena_bytes - above, above);
  }
  block.touched_below = 0;
  block.touched_above = dynamic;
  fill_variable(block.shared + dynamic_offset(), config.dynamic_shared_bytes);
  block.shared_variables.clear();
  block.static_end = 0;
  block.static_cells.clear();
  block.dynamic_cells.clear();
}

void* static_shared_memory(const void* key, size_t bytes) {
  Block& block = *this_thread()->block;
  auto known = block.shared_variables.find(key);
  if (known != block.shared_variables.end()) return block.shared + known->second.offset;

  const size_t offset = round_up(block.static_end + gap_bytes, variable_alignment);
  size_t total = bytes;
  for (auto& [_, variable] : block.shared_variables) total += variable.bytes;
  const size_t dynamic = config.dynamic_shared_bytes;
  if (total > max_static_shared_bytes) fail("static shared memory of %zu bytes is over the limit of 48 KiB", total);
  const bool opted_in = config.largest_dynamic_shared_bytes > max_static_shared_bytes;
  const size_t limit = opted_in ? max_shared_bytes : max_static_shared_bytes;
  if (total + dynamic > limit || offset + bytes + gap_bytes > dynamic_offset()) {
    fail("shared memory of %zu static and %zu dynamic bytes is over the limit of %zu", total, dynamic, limit);
  }
  statistics.static_shared_bytes = std::max<uint64_t>(statistics.static_shared_bytes, total);

  fill_variable(block.shared + offset, bytes);
  block.shared_variables[key] = {offset, bytes};
  block.static_end = offset + bytes;
  block.touched_below = block.static_end + 2 * watched_beyond_static;
  return block.shared + offset;
}

// Whether an access lies within a variable or the dynamic array.
static bool is_within_shared_variable(const Block& block, size_t offset, size_t bytes) {
  const size_t dynamic = dynamic_offset();
  if (offset >= dynamic) return offset + bytes <= dynamic + config.dynamic_shared_bytes;
  for (auto& [_, variable] : block.shared_variables) {
    if (offset >= variable.offset && offset + bytes <= variable.offset + variable.bytes) return true;
  }
  return false;
}

// At the block's end: were the gaps written to?
static void check_gaps(const Block& block) {
#ifndef __SANITIZE_ADDRESS__  // which forbids these very reads
  auto written = [&](size_t start, size_t end) -> long {
    for (size_t i = start; i < end; ++i) {
      if (static_cast<unsigned char>(block.shared[i]) != 0xff) return i;
    }
    return -1;
  };
  const std::string out_of_bounds = "shared memory written out of bounds, ";

  std::vector<SharedVariable> variables;
  for (auto& [_, variable] : block.shared_variables) variables.push_back(variable);
  std::sort(variables.begin(), variables.end(), [](auto& a, auto& b) { return a.offset < b.offset; });
  size_t end = 0;
  for (auto& variable : variables) {
    const long at = written(end, variable.offset);
    if (at >= 0) {
      set_error(out_of_bounds + std::to_string(variable.offset - at) + " bytes before a static array of " +
                std::to_string(variable.bytes) + " bytes (or past the one before it)");
      return;
    }
    end = variable.offset + variable.bytes;
  }

  const size_t dynamic = dynamic_offset();
  const long past_static = written(end, std::min(dynamic, end + watched_beyond_static));
  if (past_static >= 0) {
    set_error(out_of_bounds + std::to_string(past_static - end) + " bytes past the end of the last static array");
  } else if (written(std::max(end, dynamic - watched_before_dynamic), dynamic) >= 0) {
    set_error(out_of_bounds + "before the dynamic array");
  } else if (written(dynamic + config.dynamic_shared_bytes, arena_bytes) >= 0) {
    set_error(out_of_bounds + "past the end of the dynamic array");
  }
#endif
}

}  // namespace cuda_emulator
