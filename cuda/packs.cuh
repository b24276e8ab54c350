// Passes over memory: 16-byte accesses where alignment allows, grid-stride loops, 64-bit indices.
#pragma once

// COUNT values that are loaded or stored by one access.
template <class T, int COUNT>
struct alignas(COUNT * sizeof(T)) Pack {
  T at[COUNT];
};

// How many values of a type make 16 bytes.
template <class T>
constexpr int PACKED = 16 / sizeof(T);

template <int COUNT, class T>
__device__ Pack<T, COUNT> load(const T* from) {
  return *reinterpret_cast<const Pack<T, COUNT>*>(from);
}

template <int COUNT, class T>
__device__ void store(T* to, const Pack<T, COUNT>& pack) {
  *reinterpret_cast<Pack<T, COUNT>*>(to) = pack;
}

template <class... Pointers>
__device__ bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<unsigned long long>(pointers) | ...) & 15) == 0;
}

// How many values a call of a body below is for, known when it is compiled.
template <int VALUE>
struct Count {
  static constexpr int value = VALUE;
};

// body(Count<COUNT>, n) for the elements n..n+COUNT-1, over 0..N-1: a one-dimensional grid of any size.
template <class T, class Body>
__device__ void for_each(long long N, bool packed, Body body) {
  const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  const long long threads = (long long)gridDim.x * blockDim.x;
  const long long packs = packed ? N / PACKED<T> : 0;
  for (long long pack = thread; pack < packs; pack += threads) body(Count<PACKED<T>>(), pack * PACKED<T>);
  for (long long n = packs * PACKED<T> + thread; n < N; n += threads) body(Count<1>(), n);
}

// body(Count<COUNT>, o) for the columns o..o+COUNT-1, over 0..O-1: x of the grid. Rows stay aligned where O is a
// multiple of a pack.
template <class T, class Body>
__device__ void for_each_column(int O, bool packed, Body body) {
  const int thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;
  if (packed && O % PACKED<T> == 0) {
    for (int pack = thread; pack < O / PACKED<T>; pack += threads) body(Count<PACKED<T>>(), pack * PACKED<T>);
  } else {
    for (int o = thread; o < O; o += threads) body(Count<1>(), o);
  }
}

// body(b) for the rows b, over 0..B-1: y of the grid.
template <class Body>
__device__ void for_each_row(long long B, Body body) {
  const long long thread = (long long)blockIdx.y * blockDim.y + threadIdx.y;
  for (long long b = thread; b < B; b += (long long)gridDim.y * blockDim.y) body(b);
}
