// Functions whose names in C differ by type, one name each; and the limits NVRTC does not define.
#pragma once

namespace maths {

__device__ inline float exp(float x) { return ::expf(x); }
__device__ inline double exp(double x) { return ::exp(x); }
__device__ inline float expm1(float x) { return ::expm1f(x); }
__device__ inline double expm1(double x) { return ::expm1(x); }
__device__ inline float log(float x) { return ::logf(x); }
__device__ inline double log(double x) { return ::log(x); }
__device__ inline float log1p(float x) { return ::log1pf(x); }
__device__ inline double log1p(double x) { return ::log1p(x); }
__device__ inline float tanh(float x) { return ::tanhf(x); }
__device__ inline double tanh(double x) { return ::tanh(x); }
__device__ inline float erf(float x) { return ::erff(x); }
__device__ inline double erf(double x) { return ::erf(x); }
__device__ inline float sqrt(float x) { return ::sqrtf(x); }
__device__ inline double sqrt(double x) { return ::sqrt(x); }

// max and min that keep NaN, as NumPy's do and fmaxf does not.
template <class T>
__device__ T maximum(T a, T b) { return a > b || a != a ? a : b; }
template <class T>
__device__ T minimum(T a, T b) { return a < b || a != a ? a : b; }

template <class T>
__device__ T absolute(T x) { return x < T(0) ? -x : x; }

// 1, -1, 0 or NaN.
template <class T>
__device__ T sign(T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : x; }

// 1 / (1 + exp(-x)); exp may overflow to infinity, whose reciprocal is the right 0.
template <class T>
__device__ T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }

// log(1 + exp(-|x|)), the part of softplus that cannot overflow.
template <class T>
__device__ T log1p_exp_minus_absolute(T x) { return log1p(exp(-absolute(x))); }

}  // namespace maths
