// Fibers: a stack for each CUDA thread, and the switch between them and the scheduler.
#include "state.hpp"

// Saves the stack pointer in *save and continues where `to` was saved. The registers that a function must preserve lie
// on the stack; floating-point modes are the same for all.
extern "C" void emulator_switch(void** save, void* to);
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, . - emulator_switch
)");

namespace cuda_emulator {

constexpr size_t stack_bytes = 128 << 10;  // a CUDA thread's local memory
constexpr int saved_registers = 6;

ThreadContext* current = nullptr;

static void* scheduler_stack_pointer;
static std::vector<Stack> all_stacks, free_stacks;

// AddressSanitizer must be told of every switch.
#ifdef __SANITIZE_ADDRESS__
static const void* host_stack;
static size_t host_stack_bytes;
static void* host_sanitizer_stack;

static void before_switch_to_fiber(const Stack& stack) {
  __sanitizer_start_switch_fiber(&host_sanitizer_stack, stack.start, stack.bytes);
}
static void after_switch_to_host() { __sanitizer_finish_switch_fiber(host_sanitizer_stack, nullptr, nullptr); }
static void on_first_entry() { __sanitizer_finish_switch_fiber(nullptr, &host_stack, &host_stack_bytes); }
static void before_switch_to_host(Thread* thread) {
  void** saved = thread->state == State::done ? nullptr : &thread->sanitizer_stack;
  __sanitizer_start_switch_fiber(saved, host_stack, host_stack_bytes);
}
static void after_switch_to_fiber(Thread* thread) {
  __sanitizer_finish_switch_fiber(thread->sanitizer_stack, nullptr, nullptr);
}
static void allow(char* start, size_t bytes) { __asan_unpoison_memory_region(start, bytes); }
static void forbid(char* start, size_t bytes) { __asan_poison_memory_region(start, bytes); }
#else
static void before_switch_to_fiber(const Stack&) {}
static void after_switch_to_host() {}
static void on_first_entry() {}
static void before_switch_to_host(Thread*) {}
static void after_switch_to_fiber(Thread*) {}
static void allow(char*, size_t) {}
static void forbid(char*, size_t) {}
#endif

static Stack take_stack() {
  if (free_stacks.empty()) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* mapped = mmap(nullptr, page_bytes + stack_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mapped == MAP_FAILED) fail("no memory for the stacks of so many threads at once");
    mprotect(mapped, page_bytes, PROT_NONE);  // below the stack, which grows downwards
    all_stacks.push_back({static_cast<char*>(mapped) + page_bytes, stack_bytes});
    return all_stacks.back();
  }
  const Stack stack = free_stacks.back();
  free_stacks.pop_back();
  return stack;
}

static void switch_to_scheduler() {
  Thread* thread = this_thread();
  before_switch_to_host(thread);
  emulator_switch(&thread->stack_pointer, scheduler_stack_pointer);
  after_switch_to_fiber(thread);
}

static void fiber_main() {
  on_first_entry();
  entry(entry_arguments);
  Thread* thread = this_thread();
  thread->state = State::done;
  thread->at = {"exit", "", 0};
  switch_to_scheduler();
  __builtin_unreachable();
}

static void prepare_stack(Thread* thread) {
  thread->stack = take_stack();
  allow(thread->stack.start, thread->stack.bytes);
  void** top = reinterpret_cast<void**>(thread->stack.start + thread->stack.bytes);
  *--top = nullptr;  // fiber_main's return address, which also aligns its frame as the ABI wants it
  *--top = reinterpret_cast<void*>(fiber_main);
  for (int i = 0; i < saved_registers; ++i) *--top = nullptr;
  thread->stack_pointer = top;
}

// Runs the thread until it waits, gives way or ends.
static void resume(Thread* thread) {
  if (!thread->stack_pointer) prepare_stack(thread);
  thread->state = State::running;
  current = thread;
  ++statistics.switches;
  before_switch_to_fiber(thread->stack);
  emulator_switch(&scheduler_stack_pointer, thread->stack_pointer);
  after_switch_to_host();
  current = nullptr;
  if (thread->state == State::done) {
    free_stacks.push_back(thread->stack);
    thread->stack = {};
    --thread->block->alive;
  }
}

static void make_ready(Thread* thread) {
  thread->state = State::ready;
  thread->block->next_turn.push_back(thread);
}

void give_way() {
  make_ready(this_thread());
  switch_to_scheduler();
}

void fail(const char* format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  if (!running) {
    fprintf(stderr, "CUDA emulator: %s\n", message);
    abort();
  }
  set_error(current ? name_of(this_thread()) + ": " + message : message);
  siglongjmp(leave_launch, 1);
}

}  // namespace cuda_emulator
