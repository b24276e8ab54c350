// The check of one access: bounds, alignment, races. sanitizer_hooks.cpp calls it for every load and store.
#include "state.hpp"

namespace cuda_emulator {

static void maybe_give_way() {
  if (config.preemption > 0 && random_fraction() < config.preemption) give_way();
}

static bool is_misaligned(const char* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % std::min<size_t>(bytes, 16) != 0;
}

static void check_shared_access(char* address, size_t bytes, const Access& access) {
  Block& block = *access.thread->block;
  const size_t offset = address - block.shared, dynamic = dynamic_offset();
  const bool is_dynamic = offset >= dynamic;
  if (!is_within_shared_variable(block, offset, bytes)) {
    const bool near_dynamic = config.dynamic_shared_bytes && offset + watched_beyond_static >= dynamic;
    const long from = near_dynamic ? long(offset) - long(dynamic) : long(offset);
    fail("out-of-bounds %s of %zu bytes in shared memory (offset %ld%s; the dynamic array has %zu bytes)%s",
         access.is_write ? "write" : "read", bytes, from, near_dynamic ? " of the dynamic array" : "",
         size_t(config.dynamic_shared_bytes), access.where().c_str());
  }
  if (is_misaligned(address, bytes)) {
    fail("misaligned access of %zu bytes to shared memory%s", bytes, access.where().c_str());
  }
  if (config.check_accesses) {
    auto& cells = is_dynamic ? block.dynamic_cells : block.static_cells;
    const size_t first = is_dynamic ? offset - dynamic : offset;
    if (cells.size() < first + bytes) cells.resize(first + bytes + 512);
    track(&cells[first], bytes, address, access);
  }
  maybe_give_way();
}

[[noreturn]] static void report_out_of_bounds(const char* address, size_t bytes, const Access& access) {
  fail("out-of-bounds %s of %zu bytes: %s%s", access.is_write ? "write" : "read", bytes,
       describe_address(address).c_str(), access.where().c_str());
}

// An address of no array: some other memory, a page that faults, or what lies beside an array.
static void check_outside_arrays(char* address, size_t bytes, const Access& access) {
  auto after = arrays.upper_bound(address);
  if (after != arrays.end() && address >= after->second.start - after->second.before) {
    report_out_of_bounds(address, bytes, access);
  }
}

static void check_array_access(Array& array, char* address, size_t bytes, const Access& access) {
  if (address + bytes > array.start + array.bytes) report_out_of_bounds(address, bytes, access);
  if (is_misaligned(address, bytes)) {
    const std::string place = describe_address(address);
    fail("misaligned access of %zu bytes: %s%s", bytes, place.c_str(), access.where().c_str());
  }
  if (config.check_accesses) {
    Thread* thread = access.thread;
    if (access.kind == volatile_access && !access.is_write) acquire_from(address, thread);
    if (access.kind == plain && access.is_write) thread->has_unfenced_writes = true;
    if (array.cells.empty()) array.cells.resize(array.bytes);
    track(&array.cells[address - array.start], bytes, address, access);
  }
  maybe_give_way();
}

static void check_access(const void* address_, size_t bytes, bool is_write, AccessKind kind, void* pc) {
  if (!running || !current || !bytes) return;
  char* address = (char*)address_;
  Thread* thread = this_thread();
  if (thread->stack.contains(address)) return;
  const Block& block = *thread->block;
  const bool is_shared = address >= block.shared && address < block.shared + arena_bytes + forbidden_bytes;
  const Access access{thread, is_write, kind, is_shared, pc};
  if (is_shared) return check_shared_access(address, bytes, access);
  Array* array = array_at_or_before(address);
  if (array && address < array->start + array->capacity) {
    check_array_access(*array, address, bytes, access);
  } else {
    check_outside_arrays(address, bytes, access);
  }
}

void before_atomic(const void* address, size_t bytes) {
  // Other blocks must get on while a thread spins.
  if ((config.cooperative || config.preemption > 0) && next_random() % 4 == 0) give_way();
  if (!config.check_accesses) return;
  Thread* thread = this_thread();
  check_access(address, bytes, true, atomic_access, __builtin_return_address(0));
  release_at(address, thread);
  acquire_from(address, thread);
}

}  // namespace cuda_emulator
