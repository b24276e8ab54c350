// The activations: h = a[f], and a'[f] as a function of h alone (FROM_H) or of f alone.
#pragma once
#include "maths.cuh"

namespace activation {

// a[f] = f
struct identity {
  static constexpr bool FROM_H = true;
  template <class T>
  static __device__ T value(T f) { return f; }
  template <class T>
  static __device__ T gradient(T) { return T(1); }
};

// a[f] = max(f, 0); a'[0] = 0, and NaN stays NaN
struct relu {
  static constexpr bool FROM_H = true;
  template <class T>
  static __device__ T value(T f) { return f <= T(0) ? T(0) : f; }
  template <class T>
  static __device__ T gradient(T h) { return h > T(0) ? T(1) : T(0); }
};

// a[f] = max(f, 0.01 f)
struct leaky_relu {
  static constexpr bool FROM_H = true;
  static constexpr double SLOPE = 0.01;
  template <class T>
  static __device__ T value(T f) { return f > T(0) ? f : T(SLOPE) * f; }
  template <class T>
  static __device__ T gradient(T h) { return h > T(0) ? T(1) : T(SLOPE); }
};

// a[f] = f where f > 0, else exp(f) - 1 (Clevert et al., 2016); a'[f] = h + 1 there
struct elu {
  static constexpr bool FROM_H = true;
  template <class T>
  static __device__ T value(T f) { return f > T(0) ? f : maths::expm1(f); }
  template <class T>
  static __device__ T gradient(T h) { return h > T(0) ? T(1) : h + T(1); }
};

// a[f] = 1 / (1 + exp(-f)); a'[f] = h (1 - h)
struct sigmoid {
  static constexpr bool FROM_H = true;
  template <class T>
  static __device__ T value(T f) { return maths::sigmoid(f); }
  template <class T>
  static __device__ T gradient(T h) { return (T(1) - h) * h; }
};

// a'[f] = 1 - h^2
struct tanh {
  static constexpr bool FROM_H = true;
  template <class T>
  static __device__ T value(T f) { return maths::tanh(f); }
  template <class T>
  static __device__ T gradient(T h) { return T(1) - h * h; }
};

// a[f] = f Phi(f), Phi(f) = (1 + erf(f / sqrt 2)) / 2 (Hendrycks and Gimpel, 2016); a'[f] = Phi(f) + f phi(f)
struct gelu {
  static constexpr bool FROM_H = false;
  static constexpr double SQRT_HALF = 0.70710678118654752440, INV_SQRT_2_PI = 0.39894228040143267794;
  template <class T>
  static __device__ T cdf(T f) { return T(0.5) * (T(1) + maths::erf(T(SQRT_HALF) * f)); }
  template <class T>
  static __device__ T value(T f) { return cdf(f) * f; }
  template <class T>
  static __device__ T gradient(T f) { return cdf(f) + f * (T(INV_SQRT_2_PI) * maths::exp(T(-0.5) * f * f)); }
};

// a[f] = f (1 + tanh u) / 2, u = sqrt(2 / pi) (f + 0.044715 f^3); a'[f] = (1 + t) (1 + f u'(f) (1 - t)) / 2, t = tanh u
struct gelu_tanh {
  static constexpr bool FROM_H = false;
  static constexpr double CUBE = 0.044715, SQRT_2_OVER_PI = 0.79788456080286535588;
  template <class T>
  static __device__ T tanh_u(T f) { return maths::tanh(f * (T(SQRT_2_OVER_PI) + T(SQRT_2_OVER_PI * CUBE) * (f * f))); }
  template <class T>
  static __device__ T value(T f) { return T(0.5) * (T(1) + tanh_u(f)) * f; }
  template <class T>
  static __device__ T gradient(T f) {
    const T t = tanh_u(f), f_slope = f * (T(SQRT_2_OVER_PI) + T(3.0 * SQRT_2_OVER_PI * CUBE) * (f * f));
    return T(0.5) * (T(1) + t) * (T(1) + f_slope * (T(1) - t));
  }
};

// a[f] = f s(f), s the sigmoid (Elfwing et al., 2018); a'[f] = s (1 + f (1 - s))
struct silu {
  static constexpr bool FROM_H = false;
  template <class T>
  static __device__ T value(T f) { return maths::sigmoid(f) * f; }
  template <class T>
  static __device__ T gradient(T f) {
    const T s = maths::sigmoid(f);
    return s * (T(1) + f * (T(1) - s));
  }
};

// a[f] = log(1 + exp(f)) = max(f, 0) + log(1 + exp(-|f|)); a'[f] = 1 / (1 + exp(-f))
struct softplus {
  static constexpr bool FROM_H = false;
  template <class T>
  static __device__ T value(T f) { return maths::maximum(f, T(0)) + maths::log1p_exp_minus_absolute(f); }
  template <class T>
  static __device__ T gradient(T f) { return maths::sigmoid(f); }
};

}  // namespace activation
