// Every optimizer as one pass over the flat parameter buffer, with torch.optim's formulas.
//
// Shapes: parameters p_n, gradients g_n and every state array are (N,). What changes from step to step is read from device
// memory, so that a captured launch can be replayed:
//
//   clock_c = step, rate, shrink, penalty, and up to four constants of the optimizer's own
//   skip    = 1 where nothing is to be changed, since a gradient was not finite
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

// A pack of a state array, and where it came from.
template <class T, int COUNT>
struct State {
  T* from;
  Pack<T, COUNT> pack;
};

// update(clock, p, g, state...) for every parameter: its gradient after the weight decay, its state by reference.
template <class T, class Update, class... States>
__device__ void update_each(long long N, const double* clock_c, const int* skip, T* p_n, const T* g_n, Update update,
                            States*... state_n) {
  if (*skip != 0) return;
  const Clock<T> clock(clock_c);
  for_each<T>(N, aligned(p_n, g_n, state_n...), [&](auto count, long long n) {
    constexpr int COUNT = decltype(count)::value;
    Pack<T, COUNT> p = load<COUNT>(p_n + n), g = load<COUNT>(g_n + n);
    [&](auto... state) {
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        clock.decay(p.at[i], g.at[i]);
        update(clock, p.at[i], g.at[i], state.pack.at[i]...);
      }
      store(p_n + n, p);
      (store(state.from, state.pack), ...);  // of state_n NVRTC would see the last one alone in here
    }(State<T, COUNT>{state_n + n, load<COUNT>(state_n + n)}...);
  });
}

// p <- p - rate g
template <class T>
__global__ void __launch_bounds__(256, 1)
    sgd(T* p_n, const T* g_n, const double* clock_c, const int* skip, long long N) {
  update_each(N, clock_c, skip, p_n, g_n, [](const Clock<T>& clock, T& p, T g) { p -= clock.rate * g; });
}

// b <- momentum b + fresh g, p <- p - rate b, or along g + momentum b for Nesterov's form (Sutskever et al., 2013).
// own = momentum, fresh = 1 - dampening (and 1 at the first step, where b is 0), nesterov
template <class T>
__global__ void __launch_bounds__(256, 1)
    sgd_momentum(T* p_n, const T* g_n, T* b_n, const double* clock_c, const int* skip, long long N) {
  const auto update = [](const Clock<T>& clock, T& p, T g, T& b) {
    const T momentum = clock.own[0], fresh = clock.own[1];
    const bool nesterov = clock.own[2] != T(0);
    b = momentum * b + fresh * g;
    p -= clock.rate * (nesterov ? g + momentum * b : b);
  };
  update_each(N, clock_c, skip, p_n, g_n, update, b_n);
}

// v <- alpha v + (1 - alpha) g^2, p <- p - rate g / (sqrt(v) + epsilon) (Tieleman and Hinton, 2012).
// own = alpha, 1 - alpha, epsilon
template <class T>
__global__ void __launch_bounds__(256, 1)
    rmsprop(T* p_n, const T* g_n, T* v_n, const double* clock_c, const int* skip, long long N) {
  const auto update = [](const Clock<T>& clock, T& p, T g, T& v) {
    v = clock.own[0] * v + clock.own[1] * (g * g);
    p -= clock.rate * (g / (maths::sqrt(v) + clock.own[2]));
  };
  update_each(N, clock_c, skip, p_n, g_n, update, v_n);
}

// As rmsprop, with b <- momentum b + g / (sqrt(v) + epsilon), p <- p - rate b.
// own = alpha, 1 - alpha, epsilon, momentum
template <class T>
__global__ void __launch_bounds__(256, 1)
    rmsprop_momentum(T* p_n, const T* g_n, T* v_n, T* b_n, const double* clock_c, const int* skip, long long N) {
  const auto update = [](const Clock<T>& clock, T& p, T g, T& v, T& b) {
    v = clock.own[0] * v + clock.own[1] * (g * g);
    b = clock.own[3] * b + g / (maths::sqrt(v) + clock.own[2]);
    p -= clock.rate * b;
  };
  update_each(N, clock_c, skip, p_n, g_n, update, v_n, b_n);
}

// v <- v + g^2, p <- p - rate g / (sqrt(v) + epsilon) (Duchi, Hazan, Singer, 2011).
// own = epsilon
template <class T>
__global__ void __launch_bounds__(256, 1)
    adagrad(T* p_n, const T* g_n, T* v_n, const double* clock_c, const int* skip, long long N) {
  const auto update = [](const Clock<T>& clock, T& p, T g, T& v) {
    v += g * g;
    p -= clock.rate * (g / (maths::sqrt(v) + clock.own[0]));
  };
  update_each(N, clock_c, skip, p_n, g_n, update, v_n);
}

// m <- beta1 m + g, v <- beta2 v + g^2, p <- p - rate m / (sqrt(v) + e) (Kingma and Ba, 2015; decoupled: AdamW).
// own = beta1, beta2, e; rate and e hold the bias corrections, see `adam_constants`
template <class T>
__global__ void __launch_bounds__(256, 1)
    adam(T* p_n, const T* g_n, T* m_n, T* v_n, const double* clock_c, const int* skip, long long N) {
  const auto update = [](const Clock<T>& clock, T& p, T g, T& m, T& v) {
    m = clock.own[0] * m + g;
    v = clock.own[1] * v + g * g;
    p -= clock.rate * (m / (maths::sqrt(v) + clock.own[2]));
  };
  update_each(N, clock_c, skip, p_n, g_n, update, m_n, v_n);
}

// p <- p - rate sign(m + (1 - beta1) (g - m)), m <- m + (1 - beta2) (g - m) (Chen et al., 2023).
// own = 1 - beta1, 1 - beta2
template <class T>
__global__ void __launch_bounds__(256, 1)
    lion(T* p_n, const T* g_n, T* m_n, const double* clock_c, const int* skip, long long N) {
  const auto update = [](const Clock<T>& clock, T& p, T g, T& m) {
    const T difference = g - m;
    p -= clock.rate * maths::sign(m + clock.own[0] * difference);
    m += clock.own[1] * difference;
  };
  update_each(N, clock_c, skip, p_n, g_n, update, m_n);
}
