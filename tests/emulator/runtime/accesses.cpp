// The check of one access: bounds, alignment, races. Called by what g++ puts around loads and stores (sanitizer_hooks.cpp).
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
    fail("out-of-bounds %s of %zu bytes in shared memory (offset %ld%s; the dynamic array has %zu bytes)  [pc %p]",
         access.is_write ? "write" : "read", bytes, from, near_dynamic ? " of the dynamic array" : "",
         size_t(config.dynamic_shared_bytes), access.pc);
  }
  if (is_misaligned(address, bytes)) fail("misaligned access of %zu bytes to shared memory  [pc %p]", bytes, access.pc);
  if (config.check_accesses) {
    auto& cells = is_dynamic ? block.dynamic_cells : block.static_cells;
    const size_t first = is_dynamic ? offset - dynamic : offset;
    if (cells.size() < first + bytes) cells.resize(first + bytes + 512);
    track(&cells[first], bytes, address, access);
  }
  maybe_give_way();
}

static void check_array_access(Array& array, char* address, size_t bytes, const Access& access) {
  if (address + bytes > array.start + array.bytes) {
    if (address >= array.start + array.capacity) return;  // some other memory, or a page that faults
    fail("out-of-bounds %s of %zu bytes: %s  [pc %p]", access.is_write ? "write" : "read", bytes,
         describe_address(address).c_str(), access.pc);
  }
  if (is_misaligned(address, bytes)) {
    fail("misaligned access of %zu bytes: %s  [pc %p]", bytes, describe_address(address).c_str(), access.pc);
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
  const bool is_shared = address >= block.shared && address < block.shared + arena_bytes;
  const Access access{thread, is_write, kind, is_shared, pc};
  if (is_shared) {
    check_shared_access(address, bytes, access);
  } else if (Array* array = array_at_or_before(address)) {
    check_array_access(*array, address, bytes, access);
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
