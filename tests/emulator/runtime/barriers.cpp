// Barriers of the block and of the grid, and the collectives of a warp.
#include "state.hpp"

namespace cuda_emulator {

static bool same_place(const Location& a, const Location& b) { return a.line == b.line && !strcmp(a.file, b.file); }

// ---- blocks

static int count_votes(const Block& block) {
  int yes = 0, all = 0;
  for (const Thread& thread : block.threads) {
    if (thread.state != State::at_block_barrier) continue;
    ++all;
    yes += thread.predicate != 0;
  }
  switch (block.barrier_vote) {
    case Vote::none: return 0;
    case Vote::count: return yes;
    case Vote::all: return yes == all;
    case Vote::any: return yes != 0;
  }
  return 0;
}

static void release_barrier(Block& block) {
  block.barrier_result = count_votes(block);
  block.at_barrier = 0;
  ++block.epoch;
  ++statistics.barriers;
  const auto unfenced = [](const Thread& thread) { return thread.has_unfenced_writes; };
  if (std::none_of(block.threads.begin(), block.threads.end(), unfenced)) block.fenced_epoch = block.epoch;
  for (Thread& thread : block.threads) {
    if (thread.state != State::at_block_barrier) continue;
    thread.epoch = block.epoch;
    make_ready(&thread);
  }
}

int block_barrier(Location location, Vote vote, int predicate) {
  Thread* thread = this_thread();
  Block& block = *thread->block;
  if (block.at_barrier == 0) {
    block.barrier_location = location;
    block.barrier_vote = vote;
  } else if (!same_place(block.barrier_location, location) || block.barrier_vote != vote) {
    fail("divergent barrier: this thread is at %s while other threads of the block wait at %s",
         text_of(location).c_str(), text_of(block.barrier_location).c_str());
  }
  thread->state = State::at_block_barrier;
  thread->at = location;
  thread->predicate = predicate;
  ++thread->clock;
  ++block.at_barrier;
  switch_to_scheduler();
  return block.barrier_result;
}

void grid_barrier(Location location) {
  Thread* thread = this_thread();
  if (!config.cooperative) fail("%s in a launch that is not cooperative", text_of(location).c_str());
  thread->state = State::at_grid_barrier;
  thread->at = location;
  ++thread->clock;
  ++thread->block->at_grid_barrier;
  switch_to_scheduler();
}

// ---- warps

// The lanes of a warp, of which the last one of a block may have fewer than 32.
struct Warp {
  Thread* threads;
  unsigned size;

  explicit Warp(Block& block, unsigned rank) {
    const unsigned first = rank / warp_lanes * warp_lanes;
    threads = &block.threads[first];
    size = std::min<unsigned>(warp_lanes, block.threads.size() - first);
  }

  bool waits(unsigned lane, unsigned mask) const {
    const Thread& thread = threads[lane];
    return thread.state == State::at_warp_collective && thread.collective_mask == mask;
  }

  unsigned waiting_with(unsigned mask) const {
    unsigned lanes = 0;
    for (unsigned lane = 0; lane < size; ++lane) {
      if (waits(lane, mask)) lanes |= 1u << lane;
    }
    return lanes;
  }
};

template <class Action>
static void for_lanes(unsigned mask, Action action) {
  for (unsigned lane = 0; lane < warp_lanes; ++lane) {
    if (mask >> lane & 1) action(lane);
  }
}

static void check_mask(const Location& location, const Warp& warp, unsigned mask) {
  for_lanes(mask, [&](unsigned lane) {
    if (lane >= warp.size) {
      fail("%s: mask %08x names lane %u, which does not exist (the warp has %u threads)", text_of(location).c_str(),
           mask, lane, warp.size);
    }
    if (warp.threads[lane].state == State::done) {
      fail("%s: mask %08x names lane %u, which has exited", text_of(location).c_str(), mask, lane);
    }
  });
}

static void check_same_collective(const Warp& warp, unsigned mask, const Thread* thread) {
  for_lanes(mask, [&](unsigned lane) {
    const Thread& other = warp.threads[lane];
    if (!same_place(other.at, thread->at) || other.collective != thread->collective) {
      fail("divergent warp collective: lane %u at %s, lane %u at %s", thread->lane, text_of(thread->at).c_str(), lane,
           text_of(other.at).c_str());
    }
  });
}

// Everything that a lane did before the collective comes before what the others do after it.
static void order_lanes(const Warp& warp, unsigned mask) {
  uint32_t seen[warp_lanes] = {};
  for_lanes(mask, [&](unsigned lane) {
    const Thread& thread = warp.threads[lane];
    for (unsigned other = 0; other < warp_lanes; ++other) {
      const uint32_t known = other == lane ? thread.clock - 1 : thread.seen[other];
      seen[other] = std::max(seen[other], known);
    }
  });
  for_lanes(mask, [&](unsigned lane) { memcpy(warp.threads[lane].seen, seen, sizeof seen); });
}

void warp_collective(Location location, unsigned mask, WarpFunction function, void* own) {
  Thread* thread = this_thread();
  Block& block = *thread->block;
  if (!(mask >> thread->lane & 1)) {
    fail("%s: mask %08x does not name the calling lane %u", text_of(location).c_str(), mask, thread->lane);
  }
  const Warp warp(block, thread->rank);
  thread->state = State::at_warp_collective;
  thread->at = location;
  thread->collective_mask = mask;
  thread->collective = function;
  thread->collective_own = own;
  ++thread->clock;

  // Lanes are counted as they come; tiles with different masks may wait at once, and then they are counted anew.
  WaitingLanes& waiting = block.waiting[thread->rank / warp_lanes];
  if (waiting.mask != mask) waiting = {mask, warp.waiting_with(mask)};
  waiting.arrived |= 1u << thread->lane;
  if (waiting.arrived != mask) {
    const bool is_first = waiting.arrived == 1u << thread->lane;
    if (is_first) check_mask(location, warp, mask);
    switch_to_scheduler();
    return;
  }

  check_mask(location, warp, mask);
  check_same_collective(warp, mask, thread);
  void* lane_own[warp_lanes] = {};
  for_lanes(mask, [&](unsigned lane) { lane_own[lane] = warp.threads[lane].collective_own; });
  function(lane_own, mask);
  ++statistics.collectives;
  waiting.arrived = 0;
  if (config.check_accesses) order_lanes(warp, mask);
  for_lanes(mask, [&](unsigned lane) {
    Thread* other = &warp.threads[lane];
    if (other == thread) {
      thread->state = State::running;
    } else {
      make_ready(other);
    }
  });
}

// The weakest answer that a program may rely on.
unsigned active_mask() { return 1u << this_thread()->lane; }

}  // namespace cuda_emulator
