// The arrays that Python made known, and how messages name an address.
#include "state.hpp"

namespace cuda_emulator {

struct Array {
  char* start;
  size_t bytes;
  size_t before, capacity;  // bytes before its start, and from there on, that belong to it and to no other
  std::string name;
  std::vector<Cell> cells;
};

static std::map<char*, Array> arrays;  // by start

static Array* array_at_or_before(char* address) {
  auto after = arrays.upper_bound(address);
  return after == arrays.begin() ? nullptr : &std::prev(after)->second;
}

static std::string describe_address(const void* address_) {
  char* address = (char*)address_;
  long distance = 1 << 20;  // farther than this nothing is near
  const Array* nearest = nullptr;
  auto after = arrays.upper_bound(address);
  if (after != arrays.end() && after->second.start - address < distance) {
    nearest = &after->second;
    distance = nearest->start - address;
  }
  if (const Array* before = array_at_or_before(address)) {
    const long beyond = address - (before->start + before->bytes);
    if (std::max(beyond, 0L) < distance) nearest = before;
  }
  if (!nearest) return "no known array is near";

  const long offset = address - nearest->start;
  const long size = nearest->bytes;
  const std::string array = "array " + nearest->name + " (" + std::to_string(size) + " bytes)";
  if (offset < 0) return std::to_string(-offset) + " bytes before " + array;
  if (offset < size) return "offset " + std::to_string(offset) + " of " + array;
  return std::to_string(offset - size) + " bytes past the end of " + array;
}

}  // namespace cuda_emulator
