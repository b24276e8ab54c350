// Every optimizer as one pass over the flat parameter buffer, with torch.optim's formulas.
//
// Shapes: parameters p_n, gradients g_n and every state array are (N,). What changes from step to step is read from device
// memory, so that a captured launch can be replayed:
//
//   clock_c = step, rate, shrink, penalty, and up to four constants of the optimizer's own
//
// A decoupled weight decay scales p by shrink = 1 - learning_rate weight_decay first, an L2 penalty adds penalty * p to g;
// the other of the two is 1 or 0. Grid: one-dimensional, any size.
#include "maths.cuh"
#include "packs.cuh"

// The constants in the compute type.
template <class T>
struct Clock {
  T rate, shrink, penalty, own[4];
  __device__ explicit Clock(const double* clock_c) : rate(T(clock_c[1])), shrink(T(clock_c[2])), penalty(T(clock_c[3])) {
    for (int i = 0; i < 4; ++i) own[i] = T(clock_c[4 + i]);
  }
  // The weight decay of one parameter and its gradient.
  __device__ void decay(T& p, T& g) const {
    g += penalty * p;
    p *= shrink;
  }
};

// p <- p - rate g
template <class T>
__global__ void __launch_bounds__(256, 1) sgd(T* p_n, const T* g_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      p.at[i] -= clock.rate * g.at[i];
    }
    store(p_n + n, p);
  });
}

// b <- momentum b + fresh g, p <- p - rate b, or along g + momentum b for Nesterov's form (Sutskever et al., 2013).
// own = momentum, fresh = 1 - dampening (and 1 at the first step, where b is 0), nesterov
template <class T>
__global__ void __launch_bounds__(256, 1) sgd_momentum(T* p_n, const T* g_n, T* b_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  const T momentum = clock.own[0], fresh = clock.own[1];
  const bool nesterov = clock.own[2] != T(0);
  for_each<T>(N, aligned(p_n, g_n, b_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n), b = load<COUNT>(b_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      b.at[i] = momentum * b.at[i] + fresh * g.at[i];
      p.at[i] -= clock.rate * (nesterov ? g.at[i] + momentum * b.at[i] : b.at[i]);
    }
    store(p_n + n, p);
    store(b_n + n, b);
  });
}

// v <- alpha v + (1 - alpha) g^2, p <- p - rate g / (sqrt(v) + epsilon) (Tieleman and Hinton, 2012).
// own = alpha, 1 - alpha, epsilon
template <class T>
__global__ void __launch_bounds__(256, 1) rmsprop(T* p_n, const T* g_n, T* v_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n, v_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n), v = load<COUNT>(v_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      v.at[i] = clock.own[0] * v.at[i] + clock.own[1] * (g.at[i] * g.at[i]);
      p.at[i] -= clock.rate * (g.at[i] / (maths::sqrt(v.at[i]) + clock.own[2]));
    }
    store(p_n + n, p);
    store(v_n + n, v);
  });
}

// As rmsprop, with b <- momentum b + g / (sqrt(v) + epsilon), p <- p - rate b.
// own = alpha, 1 - alpha, epsilon, momentum
template <class T>
__global__ void __launch_bounds__(256, 1)
    rmsprop_momentum(T* p_n, const T* g_n, T* v_n, T* b_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n, v_n, b_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n);
    Pack<T, COUNT> v = load<COUNT>(v_n + n), b = load<COUNT>(b_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      v.at[i] = clock.own[0] * v.at[i] + clock.own[1] * (g.at[i] * g.at[i]);
      b.at[i] = clock.own[3] * b.at[i] + g.at[i] / (maths::sqrt(v.at[i]) + clock.own[2]);
      p.at[i] -= clock.rate * b.at[i];
    }
    store(p_n + n, p);
    store(v_n + n, v);
    store(b_n + n, b);
  });
}

// v <- v + g^2, p <- p - rate g / (sqrt(v) + epsilon) (Duchi, Hazan, Singer, 2011).
// own = epsilon
template <class T>
__global__ void __launch_bounds__(256, 1) adagrad(T* p_n, const T* g_n, T* v_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n, v_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n), v = load<COUNT>(v_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      v.at[i] += g.at[i] * g.at[i];
      p.at[i] -= clock.rate * (g.at[i] / (maths::sqrt(v.at[i]) + clock.own[0]));
    }
    store(p_n + n, p);
    store(v_n + n, v);
  });
}

// m <- beta1 m + g, v <- beta2 v + g^2, p <- p - rate m / (sqrt(v) + e) (Kingma and Ba, 2015; decoupled: AdamW).
// own = beta1, beta2, e; rate and e hold the bias corrections, see `adam_constants`
template <class T>
__global__ void __launch_bounds__(256, 1) adam(T* p_n, const T* g_n, T* m_n, T* v_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n, m_n, v_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n);
    Pack<T, COUNT> m = load<COUNT>(m_n + n), v = load<COUNT>(v_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      m.at[i] = clock.own[0] * m.at[i] + g.at[i];
      v.at[i] = clock.own[1] * v.at[i] + g.at[i] * g.at[i];
      p.at[i] -= clock.rate * (m.at[i] / (maths::sqrt(v.at[i]) + clock.own[2]));
    }
    store(p_n + n, p);
    store(m_n + n, m);
    store(v_n + n, v);
  });
}

// p <- p - rate sign(m + (1 - beta1) (g - m)), m <- m + (1 - beta2) (g - m) (Chen et al., 2023).
// own = 1 - beta1, 1 - beta2
template <class T>
__global__ void __launch_bounds__(256, 1) lion(T* p_n, const T* g_n, T* m_n, const double* clock_c, long long N) {
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n, m_n), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n), m = load<COUNT>(m_n + n);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      clock.decay(p.at[i], g.at[i]);
      const T difference = g.at[i] - m.at[i];
      p.at[i] -= clock.rate * maths::sign(m.at[i] + clock.own[0] * difference);
      m.at[i] += clock.own[1] * difference;
    }
    store(p_n + n, p);
    store(m_n + n, m);
  });
}
