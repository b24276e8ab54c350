// cp.async: a copy happens when its thread waits for it and not before, so who forgets to wait reads what was there.
#include "state.hpp"

namespace cuda_emulator {

static std::vector<std::vector<AsyncCopy>>& copy_groups() {
  auto& groups = this_thread()->copy_groups;
  if (groups.empty()) groups.emplace_back();
  return groups;
}

void async_copy(void* destination, const void* source, int bytes, int source_bytes) {
  AsyncCopy copy{static_cast<char*>(destination), static_cast<const char*>(source), bytes, source_bytes,
                 __builtin_return_address(0)};
  copy_groups().back().push_back(copy);
}

void async_commit() { copy_groups().emplace_back(); }

static void complete(const AsyncCopy& copy) {
  check_access(copy.source, copy.source_bytes, false, plain, copy.pc);
  check_access(copy.destination, copy.bytes, true, plain, copy.pc);
  memset(copy.destination, 0, copy.bytes);
  memcpy(copy.destination, copy.source, copy.source_bytes);
}

static void complete_first(size_t count) {
  auto& groups = copy_groups();
  for (size_t i = 0; i < count; ++i) {
    for (const AsyncCopy& copy : groups[i]) complete(copy);
  }
  groups.erase(groups.begin(), groups.begin() + count);
}

void async_wait(int groups_still_open) {
  const size_t committed = copy_groups().size() - 1;
  const size_t open = groups_still_open;
  if (committed > open) complete_first(committed - open);
}

void async_wait_all() { complete_first(copy_groups().size()); }

}  // namespace cuda_emulator
