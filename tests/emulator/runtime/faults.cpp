// Signals during a launch become its error: an access to a forbidden page, a division by zero, an endless loop.
#include "state.hpp"

#include <pthread.h>
#include <sys/time.h>

namespace cuda_emulator {

constexpr size_t signal_stack_bytes = 64 << 10;
constexpr int caught_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGVTALRM};
constexpr int caught_count = sizeof caught_signals / sizeof *caught_signals;

static struct sigaction previous_actions[caught_count];
static stack_t previous_signal_stack;
static pthread_t launching_thread;

static std::string describe_fault(int signal_number, char* address, const Thread* thread) {
  char text[300];
  if (signal_number == SIGVTALRM) return "launch timed out: endless loop?";
  if (signal_number == SIGFPE) return "integer division by zero";
  if (signal_number == SIGILL) return "illegal instruction";
  if (thread && address >= thread->stack.start - page_bytes && address < thread->stack.start) {
    snprintf(text, sizeof text, "stack overflow: local memory over %zu KiB", stack_bytes >> 10);
    return text;
  }
  if (thread) {
    const long beyond = address - (thread->block->shared + arena_bytes);
    if (beyond >= 0 && beyond < long(forbidden_bytes)) {
      snprintf(text, sizeof text, "out-of-bounds access %ld bytes past the end of dynamic shared memory (%zu bytes)",
               beyond, size_t(config.dynamic_shared_bytes));
      return text;
    }
  }
  snprintf(text, sizeof text, "invalid memory access at %p: ", static_cast<void*>(address));
  return text + describe_address(address);
}

static void restore_signals() {
  for (int i = 0; i < caught_count; ++i) sigaction(caught_signals[i], &previous_actions[i], nullptr);
}

static void on_signal(int signal_number, siginfo_t* info, void* context) {
  if (!pthread_equal(pthread_self(), launching_thread)) {
    if (signal_number == SIGVTALRM) {
      pthread_kill(launching_thread, SIGVTALRM);  // a timer's signal goes to any thread
    } else {
      restore_signals();  // another thread's fault: whoever was there before us deals with it
    }
    return;
  }
  if (!running) return restore_signals();
  const Thread* thread = current ? this_thread() : nullptr;
  void* pc = reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] + 1);
  char where[40];
  snprintf(where, sizeof where, "  [pc %p]", pc);
  const std::string fault = describe_fault(signal_number, static_cast<char*>(info->si_addr), thread);
  set_error((thread ? name_of(thread) + ": " : "") + fault + where);
  siglongjmp(leave_launch, 1);
}

// Of processor time, so that a busy machine ends no launch.
static void set_timer(double seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = long(seconds);
  timer.it_value.tv_usec = long((seconds - long(seconds)) * 1e6);
  setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

static void catch_signals(double timeout_seconds) {
#ifndef __SANITIZE_ADDRESS__  // which reports them itself
  static char signal_stack[signal_stack_bytes];
  const stack_t own_stack{signal_stack, 0, sizeof signal_stack};
  sigaltstack(&own_stack, &previous_signal_stack);
  launching_thread = pthread_self();
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < caught_count; ++i) sigaction(caught_signals[i], &action, &previous_actions[i]);
  set_timer(timeout_seconds);
#else
  (void)timeout_seconds;
#endif
}

static void release_signals() {
#ifndef __SANITIZE_ADDRESS__
  set_timer(0);
  restore_signals();
  sigaltstack(&previous_signal_stack, nullptr);
#endif
}

}  // namespace cuda_emulator
