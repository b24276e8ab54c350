// Sums over the threads of a warp or a block, in one fixed order: the same bits in every run.
#pragma once

constexpr unsigned ALL_LANES = 0xffffffffu;

// Every lane gets the sum over its group of `lanes` neighbours, a power of 2 up to 32. All 32 lanes must call it.
template <class T>
__device__ T group_sum(T value, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  return value;
}

template <class T>
__device__ T group_max(T value, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(ALL_LANES, value, distance);
    value = other > value || other != other ? other : value;  // NaN wins, as in NumPy
  }
  return value;
}

// What combines two values, for `block_reduce`.
struct Sum {
  template <class T>
  static __device__ T over(T value, int lanes) { return group_sum(value, lanes); }
};
struct Max {
  template <class T>
  static __device__ T over(T value, int lanes) { return group_max(value, lanes); }
};

// Every thread gets the sum or the maximum over a block of whole warps, at most 1024 threads; `idle` changes nothing.
template <class Reduction, class T>
__device__ T block_reduce(T value, T idle) {
  __shared__ T of_warp[32];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, warps = blockDim.x * blockDim.y / 32;
  value = Reduction::over(value, 32);
  if (thread % 32 == 0) of_warp[thread / 32] = value;
  __syncthreads();
  value = Reduction::over(thread % 32 < warps ? of_warp[thread % 32] : idle, 32);
  __syncthreads();  // before the next call writes of_warp
  return value;
}
