// What stands between two products of a layer:
//
//   f_bo += beta_o,  h_bo = a[f_bo]                  bias_activation
//   dL/df_bo = a'[f_bo] dL/dh_bo                     activation_gradient
//
// and with dropout, mask m_bo in {0, scale}: kept_bo = m_bo h_bo, and dL/dh_bo = m_bo dL/dkept_bo first. The mask is drawn
// again where it is needed and never stored. A half type is rounded where it is stored, and h is that of the rounded f.
//
// Grid: x over packs of columns, y over rows; any size.
#include "activations.cuh"
#include "halves.cuh"
#include "packs.cuh"
#include "philox.cuh"

// f_bo and h_bo may be the same memory, which then holds h.
template <class T, class A>
__global__ void __launch_bounds__(256, 1) bias_activation(const T* beta_o, T* f_bo, T* h_bo, long long B, int O) {
  using C = Compute<T>;
  for_each_column<T>(O, aligned(beta_o, f_bo, h_bo), [&](auto count, int o) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<T, COUNT> beta = load<COUNT>(beta_o + o);
    for_each_row(B, [&](long long b) {
      const long long n = b * O + o;
      Pack<T, COUNT> f = load<COUNT>(f_bo + n), h;
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        f.at[i] = T(C(f.at[i]) + C(beta.at[i]));
        h.at[i] = T(A::value(C(f.at[i])));
      }
      if (f_bo != h_bo) store(f_bo + n, f);
      store(h_bo + n, h);
    });
  });
}

// clock[0] is the step.
template <class T, class A>
__global__ void __launch_bounds__(256, 1) bias_activation_dropout(
    const T* beta_o, T* f_bo, T* h_bo, T* kept_bo, const double* clock_c, unsigned key0, unsigned key1, unsigned layer,
    unsigned long long threshold, unsigned long long first, double scale, long long B, int O) {
  using C = Compute<T>;
  const DropoutStream stream{key0, key1, (unsigned)(long long)clock_c[0], layer, threshold, first};
  for_each_column<T>(O, aligned(beta_o, f_bo, h_bo, kept_bo), [&](auto count, int o) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<T, COUNT> beta = load<COUNT>(beta_o + o);
    for_each_row(B, [&](long long b) {
      const long long n = b * O + o;
      Pack<T, COUNT> f = load<COUNT>(f_bo + n), h, kept;
      bool is_kept[COUNT];
      draw_kept(stream, n, is_kept);
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        f.at[i] = T(C(f.at[i]) + C(beta.at[i]));
        h.at[i] = T(A::value(C(f.at[i])));
        kept.at[i] = T(C(h.at[i]) * (is_kept[i] ? C(scale) : C(0)));
      }
      if (f_bo != h_bo) store(f_bo + n, f);
      store(h_bo + n, h);
      store(kept_bo + n, kept);
    });
  });
}

// x_bo is h_bo for an activation that is FROM_H, else f_bo. dl_dh_bo and dl_df_bo may be the same memory.
template <class T, class A>
__global__ void __launch_bounds__(256, 1)
    activation_gradient(const T* x_bo, const T* dl_dh_bo, T* dl_df_bo, long long B, int O) {
  using C = Compute<T>;
  for_each<T>(B * O, aligned(x_bo, dl_dh_bo, dl_df_bo), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<T, COUNT> x = load<COUNT>(x_bo + n), dl_dh = load<COUNT>(dl_dh_bo + n);
    Pack<T, COUNT> dl_df;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) dl_df.at[i] = T(A::gradient(C(x.at[i])) * C(dl_dh.at[i]));
    store(dl_df_bo + n, dl_df);
  });
}

// dl_dh_bo comes as the gradient of the kept units and, unless it is the memory of dl_df_bo, leaves as that of all.
template <class T, class A>
__global__ void __launch_bounds__(256, 1) activation_gradient_dropout(
    const T* x_bo, T* dl_dh_bo, T* dl_df_bo, const double* clock_c, unsigned key0, unsigned key1, unsigned layer,
    unsigned long long threshold, unsigned long long first, double scale, long long B, int O) {
  using C = Compute<T>;
  const DropoutStream stream{key0, key1, (unsigned)(long long)clock_c[0], layer, threshold, first};
  for_each<T>(B * O, aligned(x_bo, dl_dh_bo, dl_df_bo), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    const Pack<T, COUNT> x = load<COUNT>(x_bo + n);
    Pack<T, COUNT> dl_dh = load<COUNT>(dl_dh_bo + n), dl_df;
    bool is_kept[COUNT];
    draw_kept(stream, n, is_kept);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const C masked = C(dl_dh.at[i]) * (is_kept[i] ? C(scale) : C(0));
      dl_dh.at[i] = T(masked);
      dl_df.at[i] = T(A::gradient(C(x.at[i])) * masked);
    }
    if (dl_dh_bo != dl_df_bo) store(dl_dh_bo + n, dl_dh);
    store(dl_df_bo + n, dl_df);
  });
}
