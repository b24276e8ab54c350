// What g++ calls in code compiled with -fsanitize=thread and -fsanitize=undefined, in the place of their libraries.
#include "state.hpp"

using cuda_emulator::check_access;
using cuda_emulator::fail;
using cuda_emulator::plain;
using cuda_emulator::volatile_access;

extern "C" {

#define ACCESS_HOOK(NAME, BYTES, IS_WRITE, KIND)                                      \
  void NAME##BYTES(void* address) {                                                   \
    check_access(address, BYTES, IS_WRITE, KIND, __builtin_return_address(0));        \
  }
#define ACCESS_HOOKS(BYTES)                                          \
  ACCESS_HOOK(__tsan_read, BYTES, false, plain)                      \
  ACCESS_HOOK(__tsan_write, BYTES, true, plain)                      \
  ACCESS_HOOK(__tsan_unaligned_read, BYTES, false, plain)            \
  ACCESS_HOOK(__tsan_unaligned_write, BYTES, true, plain)            \
  ACCESS_HOOK(__tsan_volatile_read, BYTES, false, volatile_access)   \
  ACCESS_HOOK(__tsan_volatile_write, BYTES, true, volatile_access)

ACCESS_HOOKS(1)
ACCESS_HOOKS(2)
ACCESS_HOOKS(4)
ACCESS_HOOKS(8)
ACCESS_HOOKS(16)

void __tsan_read_range(void* address, size_t bytes) {
  check_access(address, bytes, false, plain, __builtin_return_address(0));
}

void __tsan_write_range(void* address, size_t bytes) {
  check_access(address, bytes, true, plain, __builtin_return_address(0));
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}

struct SourceLocation {
  const char* file;
  uint32_t line, column;
};

void __ubsan_handle_out_of_bounds(void*, uintptr_t index) {
  fail("array index %ld out of bounds  [pc %p]", long(index), __builtin_return_address(0));
}

void __ubsan_handle_type_mismatch_v1(void*, uintptr_t pointer) {
  fail("misaligned or null pointer %#zx  [pc %p]", size_t(pointer), __builtin_return_address(0));
}

void __ubsan_handle_shift_out_of_bounds(SourceLocation* location, uintptr_t, uintptr_t) {
  fail("shift out of range at %s:%u", location->file, location->line);
}

void __ubsan_handle_divrem_overflow(SourceLocation* location, uintptr_t, uintptr_t) {
  fail("division by zero at %s:%u", location->file, location->line);
}

}  // extern "C"
