// What products multiply, rounded to their precision: out_n = scale values_n.
//
// Shapes: values_n and out_n (N,), scale one number of the device, 1 where nothing is scaled. Grid: one-dimensional, any size.
#include "halves.cuh"
#include "packs.cuh"

template <class T>
__global__ void __launch_bounds__(256, 1) to_factors(const float* values_n, const float* scale, T* out_n, long long N) {
  const float by = *scale;
  for_each<float>(N, aligned(values_n, out_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<float, COUNT> values = load<COUNT>(values_n + n);
    Pack<T, COUNT> out;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) out.at[i] = T(by * values.at[i]);
    store(out_n + n, out);
  });
}
