// f = x + beta, h = activation(f), for x of `size` elements in rows of `cols`; four at a time where rows allow it.
#include "common.cuh"

template <Activation activation>
__global__ void __launch_bounds__(256)
    bias_activation(const float* __restrict__ x, const float* __restrict__ beta, float* __restrict__ f,
                    float* __restrict__ h, long long size, int cols) {
  const long long stride = (long long)gridDim.x * blockDim.x;
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if ((cols & 3) == 0) {  // then every row starts at a multiple of 16 bytes
    for (; i < size / 4; i += stride) {
      float4 v = __ldg(reinterpret_cast<const float4*>(x) + i);
      const float4 b = __ldg(reinterpret_cast<const float4*>(beta) + i % (cols / 4));
      v.x += b.x;
      v.y += b.y;
      v.z += b.z;
      v.w += b.w;
      reinterpret_cast<float4*>(f)[i] = v;
      v.x = activate<activation>(v.x);
      v.y = activate<activation>(v.y);
      v.z = activate<activation>(v.z);
      v.w = activate<activation>(v.w);
      reinterpret_cast<float4*>(h)[i] = v;
    }
  } else {
    for (; i < size; i += stride) {
      const float v = x[i] + beta[i % cols];
      f[i] = v;
      h[i] = activate<activation>(v);
    }
  }
}
