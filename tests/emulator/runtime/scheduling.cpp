// Whose turn it is. Blocks run one after another, or in a cooperative launch at once; a deadlock tells who waits where.
#include "state.hpp"

namespace cuda_emulator {

static void start_block(Block& block, uint32_t rank) {
  const unsigned threads = config.threads_per_block();
  const auto& g = config.grid;
  const auto& b = config.block;
  block.rank = rank;
  block.index = {rank % g[0], rank / g[0] % g[1], rank / g[0] / g[1]};
  block.turn.clear();
  block.next_turn.clear();
  block.alive = threads;
  block.at_barrier = block.at_grid_barrier = 0;
  block.epoch = block.fenced_epoch = 0;
  block.acquired.clear();
  for (WaitingLanes& waiting : block.waiting) waiting = {};
  prepare_shared_memory(block);

  block.threads.clear();
  block.threads.resize(threads);
  for (unsigned i = 0; i < threads; ++i) {
    Thread& thread = block.threads[i];
    thread.block = &block;
    thread.block_index = block.index;
    thread.grid_size = {g[0], g[1], g[2]};
    thread.block_size = {b[0], b[1], b[2]};
    thread.thread_index = {i % b[0], i / b[0] % b[1], i / b[0] / b[1]};
    thread.rank = i;
    thread.lane = i % warp_lanes;
    thread.id = rank * threads + i;
    block.next_turn.push_back(&thread);
  }
  ++statistics.blocks;
}

// ---- order

static bool has_lower_rank(const Thread* a, const Thread* b) { return a->rank < b->rank; }

// Warps in random order, the lanes of each in theirs.
static void shuffle_warps(std::vector<Thread*>& threads) {
  uint64_t place[max_threads / warp_lanes];
  for (uint64_t& value : place) value = next_random();
  std::sort(threads.begin(), threads.end(), [&](const Thread* a, const Thread* b) {
    const unsigned warp_a = a->rank / warp_lanes, warp_b = b->rank / warp_lanes;
    return warp_a == warp_b ? a->rank < b->rank : place[warp_a] < place[warp_b];
  });
}

static void arrange(std::vector<Thread*>& threads) {
  switch (config.order) {
    case forward: std::sort(threads.begin(), threads.end(), has_lower_rank); break;
    case backward:
      std::sort(threads.begin(), threads.end(), has_lower_rank);
      std::reverse(threads.begin(), threads.end());
      break;
    case shuffled: shuffle_in_place(threads); break;
    case shuffled_warps: shuffle_warps(threads); break;
  }
}

// Every thread that is ready runs once; false where there was none.
static bool take_turns(Block& block) {
  if (block.next_turn.empty()) return false;
  block.turn.swap(block.next_turn);
  block.next_turn.clear();
  arrange(block.turn);
  for (Thread* thread : block.turn) {
    resume(thread);
    const bool all_wait = block.at_barrier && block.at_barrier == block.alive;
    if (all_wait && block.alive == block.threads.size()) release_barrier(block);
  }
  return true;
}

// ---- deadlocks

static std::string describe_waiting(const Block& block) {
  std::map<std::string, std::vector<unsigned>> waiting;
  unsigned exited = 0;
  for (const Thread& thread : block.threads) {
    if (thread.state == State::done) {
      ++exited;
      continue;
    }
    std::string place = text_of(thread.at);
    if (thread.state == State::at_warp_collective) {
      char mask[32];
      snprintf(mask, sizeof mask, " with mask %08x", thread.collective_mask);
      place += mask;
    }
    waiting[place].push_back(thread.rank);
  }

  const uint3& index = block.index;
  std::string text = "deadlock in block (" + std::to_string(index.x) + "," + std::to_string(index.y) + "," +
                     std::to_string(index.z) + "): ";
  for (auto& [place, ranks] : waiting) {
    text += std::to_string(ranks.size()) + " threads wait at " + place + " (first: ";
    for (size_t i = 0; i < ranks.size() && i < 4; ++i) text += (i ? "," : "") + std::to_string(ranks[i]);
    text += "); ";
  }
  return text + std::to_string(exited) + " threads have exited";
}

// Some threads left before a barrier that others wait at.
static bool barrier_is_unreachable(const Block& block) {
  if (!block.at_barrier || block.alive == block.threads.size()) return false;
  set_error("barrier not reached by all threads: " + describe_waiting(block));
  return true;
}

// ---- blocks one after another

static void run_in_turn(const std::vector<uint32_t>& ranks) {
  static Block block;  // its shared memory is used again
  for (uint32_t rank : ranks) {
    start_block(block, rank);
    while (block.alive) {
      const bool somebody_ran = take_turns(block);
      if (barrier_is_unreachable(block)) return;
      if (!somebody_ran && block.alive) {
        set_error(describe_waiting(block));
        return;
      }
    }
    check_gaps(block);
    if (!error.empty()) return;
  }
}

// ---- blocks at once

static void release_grid_barrier(std::vector<Block>& blocks) {
  ++grid_epoch;
  for (Block& block : blocks) {
    block.at_grid_barrier = 0;
    ++block.epoch;
    for (Thread& thread : block.threads) {
      if (thread.state != State::at_grid_barrier) continue;
      thread.epoch = block.epoch;
      make_ready(&thread);
    }
  }
}

static const Block* first_alive(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) {
    if (block.alive) return &block;
  }
  return nullptr;
}

// One round over all blocks, each for a random number of turns; false where no thread was ready.
static bool run_round(std::vector<Block>& blocks) {
  std::vector<Block*> round;
  for (Block& block : blocks) round.push_back(&block);
  shuffle_in_place(round);
  bool somebody_ran = false;
  for (Block* block : round) {
    for (int turns = 1 << next_random() % 16; turns && take_turns(*block); --turns) somebody_ran = true;
    if (barrier_is_unreachable(*block)) break;
  }
  return somebody_ran;
}

static void run_at_once(const std::vector<uint32_t>& ranks) {
  static std::vector<Block> blocks;
  for (Block& block : blocks) {
    if (block.shared) free_arenas.push_back(block.shared);
  }
  blocks.clear();
  blocks.resize(ranks.size());
  for (size_t i = 0; i < ranks.size(); ++i) start_block(blocks[i], ranks[i]);

  while (const Block* alive = first_alive(blocks)) {
    const bool somebody_ran = run_round(blocks);
    if (!error.empty()) return;
    uint64_t living = 0, at_barrier = 0;
    for (const Block& block : blocks) {
      living += block.alive;
      at_barrier += block.at_grid_barrier;
    }
    if (at_barrier && at_barrier == living) {
      if (living < config.blocks() * config.threads_per_block()) {
        set_error("grid barrier not reached by all threads: " + describe_waiting(*first_alive(blocks)));
        return;
      }
      release_grid_barrier(blocks);
    } else if (!somebody_ran && living) {
      for (const Block& block : blocks) {
        if (block.alive > block.at_grid_barrier) alive = &block;
      }
      set_error(describe_waiting(*alive));
      return;
    }
  }
  for (const Block& block : blocks) {
    check_gaps(block);
    if (!error.empty()) return;
  }
}

}  // namespace cuda_emulator
