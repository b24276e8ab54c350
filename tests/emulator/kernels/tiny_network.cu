// Many steps of gradient descent of a 2-4-7-3-2 network (tanh, linear output, squared error) in a launch of one block.
// Thread t has the samples t, t + blockDim.x, ...; parameters and each warp's sum of gradients lie in shared memory.
#include "common.cuh"

constexpr int N0 = 2, N1 = 4, N2 = 7, N3 = 3, N4 = 2;
constexpr int OMEGA1 = 0, BETA1 = OMEGA1 + N0 * N1;
constexpr int OMEGA2 = BETA1 + N1, BETA2 = OMEGA2 + N1 * N2;
constexpr int OMEGA3 = BETA2 + N2, BETA3 = OMEGA3 + N2 * N3;
constexpr int OMEGA4 = BETA3 + N3, BETA4 = OMEGA4 + N3 * N4;
constexpr int PARAMETERS = BETA4 + N4;

template <int In, int Out, bool is_linear>
__device__ __forceinline__ void layer(const float* omega, const float* beta, const float (&x)[In], float (&h)[Out]) {
#pragma unroll
  for (int o = 0; o < Out; ++o) {
    float f = beta[o];
#pragma unroll
    for (int i = 0; i < In; ++i) f = fmaf(x[i], omega[i * Out + o], f);
    h[o] = is_linear ? f : tanhf(f);
  }
}

// Adds the gradients of omega and beta to the warp's sums; dl_dx goes through the tanh that made x, if one did.
template <int In, int Out, bool is_first>
__device__ __forceinline__ void layer_backward(const float* omega, const float (&x)[In], const float (&dl_df)[Out],
                                               float (&dl_dx)[In], float* dl_domega, float* dl_dbeta) {
  const bool leads = (threadIdx.x & 31) == 0;
  const int of_warp = (threadIdx.x >> 5) * PARAMETERS;
#pragma unroll
  for (int o = 0; o < Out; ++o) {
    const float sum = warp_sum(dl_df[o]);
    if (leads) dl_dbeta[of_warp + o] += sum;
  }
#pragma unroll
  for (int i = 0; i < In; ++i) {
    float gradient = 0.0f;
#pragma unroll
    for (int o = 0; o < Out; ++o) {
      gradient = fmaf(dl_df[o], omega[i * Out + o], gradient);
      const float sum = warp_sum(x[i] * dl_df[o]);
      if (leads) dl_domega[of_warp + i * Out + o] += sum;
    }
    dl_dx[i] = is_first ? gradient : gradient * (1.0f - x[i] * x[i]);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    train_tiny(float* __restrict__ parameters, const float* __restrict__ x, const float* __restrict__ y,
               float* __restrict__ losses, int batch, int steps, float rate) {
  __shared__ float p[PARAMETERS];
  __shared__ float loss_of_warp[8];
  extern __shared__ float gradients[];  // warps x PARAMETERS
  const int thread = threadIdx.x;
  const int warps = blockDim.x / 32;
  for (int i = thread; i < PARAMETERS; i += blockDim.x) p[i] = parameters[i];
  for (int step = 0; step < steps; ++step) {
    for (int i = thread; i < PARAMETERS * warps; i += blockDim.x) gradients[i] = 0.0f;
    __syncthreads();
    float loss = 0.0f;
    for (int base = 0; base < batch; base += blockDim.x) {  // as often in every thread: the sums need whole warps
      const int sample = base + thread;
      const bool exists = sample < batch;
      float h0[N0], h1[N1], h2[N2], h3[N3], h4[N4];
      float dl_df4[N4], dl_df3[N3], dl_df2[N2], dl_df1[N1], dl_dx[N0];
#pragma unroll
      for (int i = 0; i < N0; ++i) h0[i] = exists ? x[sample * N0 + i] : 0.0f;
      layer<N0, N1, false>(p + OMEGA1, p + BETA1, h0, h1);
      layer<N1, N2, false>(p + OMEGA2, p + BETA2, h1, h2);
      layer<N2, N3, false>(p + OMEGA3, p + BETA3, h2, h3);
      layer<N3, N4, true>(p + OMEGA4, p + BETA4, h3, h4);
#pragma unroll
      for (int o = 0; o < N4; ++o) {
        const float residual = exists ? h4[o] - y[sample * N4 + o] : 0.0f;
        loss += residual * residual;
        dl_df4[o] = 2.0f * residual / (batch * N4);
      }
      layer_backward<N3, N4, false>(p + OMEGA4, h3, dl_df4, dl_df3, gradients + OMEGA4, gradients + BETA4);
      layer_backward<N2, N3, false>(p + OMEGA3, h2, dl_df3, dl_df2, gradients + OMEGA3, gradients + BETA3);
      layer_backward<N1, N2, false>(p + OMEGA2, h1, dl_df2, dl_df1, gradients + OMEGA2, gradients + BETA2);
      layer_backward<N0, N1, true>(p + OMEGA1, h0, dl_df1, dl_dx, gradients + OMEGA1, gradients + BETA1);
    }
    loss = warp_sum(loss);
    if ((thread & 31) == 0) loss_of_warp[thread >> 5] = loss;
    __syncthreads();
    for (int i = thread; i < PARAMETERS; i += blockDim.x) {
      float gradient = 0.0f;
      for (int warp = 0; warp < warps; ++warp) gradient += gradients[warp * PARAMETERS + i];
      p[i] -= rate * gradient;
    }
    if (thread == 0) {
      float sum = 0.0f;
      for (int warp = 0; warp < warps; ++warp) sum += loss_of_warp[warp];
      losses[step] = sum / (batch * N4);
    }
    __syncthreads();
  }
  for (int i = thread; i < PARAMETERS; i += blockDim.x) parameters[i] = p[i];
}
