// Every thread adds x up, by way of a small array of its own.
extern "C" __global__ void add_up(const float* x, float* y, int n) {
  float window[4] = {};
  float sum = 0.0f;
  for (int i = 0; i < n; ++i) {
    window[i % 4] = x[i];
    sum += window[i % 4];
  }
  y[threadIdx.x] = sum;
}
