// The interface to Python: arrays become known and forgotten, and a kernel is launched.
#include "state.hpp"

namespace cuda_emulator {

static std::string refusal() {
  char text[200] = "";
  const auto& g = config.grid;
  const auto& b = config.block;
  const uint64_t threads = config.threads_per_block(), blocks = config.blocks();
  if (!threads || threads > max_threads || b[0] > max_threads || b[1] > max_threads || b[2] > 64) {
    snprintf(text, sizeof text, "invalid block (%u,%u,%u): at most 1024 threads, at most 64 in z", b[0], b[1], b[2]);
  } else if (!blocks || g[0] > 0x7fffffffu || g[1] > 65535 || g[2] > 65535 || blocks * threads > 0xfffffff0u) {
    snprintf(text, sizeof text, "invalid grid (%u,%u,%u)", g[0], g[1], g[2]);
  } else if (config.dynamic_shared_bytes > config.largest_dynamic_shared_bytes) {
    snprintf(text, sizeof text, "dynamic shared memory of %zu bytes is over %zu, raise max_dynamic_shared_size_bytes",
             size_t(config.dynamic_shared_bytes), size_t(config.largest_dynamic_shared_bytes));
  } else if (config.cooperative && blocks > max_cooperative_blocks) {
    snprintf(text, sizeof text, "cooperative launch of %zu blocks: more than %zu are not resident at once",
             size_t(blocks), size_t(max_cooperative_blocks));
  }
  return text;
}

static void seed_random(uint64_t seed) {
  random_state = seed * 0x9E3779B97F4A7C15ull + 0x1234567;
  for (int i = 0; i < 8; ++i) next_random();
}

static void forget_accesses() {
  released.clear();
  for (auto& [_, array] : arrays) array.cells.clear();
}

static void run_grid() {
  std::vector<uint32_t> ranks(config.block_count);
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = config.first_block + i;
  if (config.order == backward) {
    std::reverse(ranks.begin(), ranks.end());
  } else if (config.order != forward) {
    shuffle_in_place(ranks);
  }
  if (config.cooperative) {
    run_at_once(ranks);
  } else {
    run_in_turn(ranks);
  }
}

static void launch() {
  error = refusal();
  if (!error.empty()) return;
  statistics = {};
  grid_epoch = 0;
  seed_random(config.seed);
  if (config.check_accesses) forget_accesses();
  free_stacks = all_stacks;  // those of a launch that failed are free as well
  catch_signals(config.timeout_seconds);
  running = true;
  if (!sigsetjmp(leave_launch, 1)) run_grid();
  running = false;
  current = nullptr;
  release_signals();
}

}  // namespace cuda_emulator

extern "C" {

void emulator_register(char* start, size_t bytes, size_t before, size_t capacity, const char* name) {
  cuda_emulator::arrays[start] = {start, bytes, before, capacity, name, {}};
}

void emulator_unregister(char* start) { cuda_emulator::arrays.erase(start); }

// The message is empty where all went well.
void emulator_launch(cuda_emulator::Entry entry, void** arguments, const cuda_emulator::LaunchConfig* config,
                     cuda_emulator::Statistics* statistics, char* message, size_t message_bytes) {
  cuda_emulator::entry = entry;
  cuda_emulator::entry_arguments = arguments;
  cuda_emulator::config = *config;
  cuda_emulator::launch();
  *statistics = cuda_emulator::statistics;
  snprintf(message, message_bytes, "%s", cuda_emulator::error.c_str());
}

}  // extern "C"
