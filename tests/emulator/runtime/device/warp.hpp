// Shuffles, votes and the other collectives of a warp.
#pragma once

namespace cuda_emulator {

template <class T>
struct Shuffle {
  T given, received;
  int source;
};

template <class T>
void shuffle_lanes(void* const* lane, unsigned mask) {
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    auto* own = static_cast<Shuffle<T>*>(lane[i]);
    if (mask >> own->source & 1) {
      own->received = static_cast<Shuffle<T>*>(lane[own->source])->given;
    } else {
      memset(&own->received, 0xff, sizeof(T));  // from a lane that takes no part: undefined, so NaN
    }
  }
}

template <class T>
inline T shuffle(Location location, unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 8, "a shuffle takes values of at most 8 bytes");
  Shuffle<T> own{value, value, source};
  warp_collective(location, mask, shuffle_lanes<T>, &own);
  return own.received;
}

// The first lane of the group of `width` lanes that the calling one is in.
inline int first_of_group(int width) {
  return current->lane & ~(width - 1);
}

struct Ballot {
  unsigned predicate, result;
};

inline void collect_ballots(void* const* lane, unsigned mask) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) result |= static_cast<Ballot*>(lane[i])->predicate << i;
  }
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) static_cast<Ballot*>(lane[i])->result = result;
  }
}

inline unsigned ballot(Location location, unsigned mask, bool predicate) {
  Ballot own{predicate, 0};
  warp_collective(location, mask, collect_ballots, &own);
  return own.result;
}

inline void do_nothing(void* const*, unsigned) {}

}  // namespace cuda_emulator

inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_emulator::Location location = {"__syncwarp"}) {
  cuda_emulator::warp_collective(location, mask, cuda_emulator::do_nothing, nullptr);
}

inline unsigned __activemask() {
  return cuda_emulator::active_mask();
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                     cuda_emulator::Location location = {"__shfl_sync"}) {
  const int first = cuda_emulator::first_of_group(width);
  return cuda_emulator::shuffle(location, mask, value, first + (source & (width - 1)));
}

template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                        cuda_emulator::Location location = {"__shfl_up_sync"}) {
  const int lane = cuda_emulator::current->lane;
  const int source = lane - static_cast<int>(delta);
  return cuda_emulator::shuffle(location, mask, value, source < cuda_emulator::first_of_group(width) ? lane : source);
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                          cuda_emulator::Location location = {"__shfl_down_sync"}) {
  const int lane = cuda_emulator::current->lane;
  const int source = lane + static_cast<int>(delta);
  const int end = cuda_emulator::first_of_group(width) + width;
  return cuda_emulator::shuffle(location, mask, value, source >= end ? lane : source);
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                         cuda_emulator::Location location = {"__shfl_xor_sync"}) {
  const int lane = cuda_emulator::current->lane;
  const int source = lane ^ lane_mask;
  const int end = cuda_emulator::first_of_group(width) + width;
  return cuda_emulator::shuffle(location, mask, value, source >= end ? lane : source);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, cuda_emulator::Location location = {"__ballot_sync"}) {
  return cuda_emulator::ballot(location, mask, predicate);
}

inline int __any_sync(unsigned mask, int predicate, cuda_emulator::Location location = {"__any_sync"}) {
  return cuda_emulator::ballot(location, mask, predicate) != 0;
}

inline int __all_sync(unsigned mask, int predicate, cuda_emulator::Location location = {"__all_sync"}) {
  return cuda_emulator::ballot(location, mask, predicate) == mask;
}
