// cuda_emulator: run a subset of CUDA C++ on the CPU, one fiber per CUDA thread.  Force-included before the .cu.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cassert>
#include <type_traits>
#include <utility>

#define CUDA_EMULATOR 1
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 900
#endif
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __restrict__ __restrict
#define __grid_constant__
#ifndef INFINITY
#define INFINITY __builtin_inff()
#endif

// ---- vector types -----------------------------------------------------------------------------------------
#define EMULATOR_V1(T, S, A) \
  struct S##2 { alignas(2 * sizeof(T)) T x; T y; }; \
  struct S##3 { T x, y, z; }; \
  struct S##4 { alignas(A) T x; T y, z, w; }; \
  inline S##2 make_##S##2(T x, T y) { return {x, y}; } \
  inline S##3 make_##S##3(T x, T y, T z) { return {x, y, z}; } \
  inline S##4 make_##S##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_V1(float, float, 16) EMULATOR_V1(double, double, 16) EMULATOR_V1(int, int, 16) EMULATOR_V1(unsigned, uint, 16)
EMULATOR_V1(short, short, 8) EMULATOR_V1(unsigned short, ushort, 8) EMULATOR_V1(signed char, char, 4) EMULATOR_V1(unsigned char, uchar, 4)
EMULATOR_V1(long long, longlong, 16) EMULATOR_V1(unsigned long long, ulonglong, 16)
struct dim3 { unsigned x, y, z; constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {} };

// ---- runtime interface (all.cpp) ---------------------------------------------------------------------
namespace cuda_emulator {
template <class T> struct identity_ { using type = T; };
template <class T> using identity = typename identity_<T>::type;
struct Loc { const char* file; int line; const char* what;
  Loc(const char* w, const char* f = __builtin_FILE(), int l = __builtin_LINE()) : file(f), line(l), what(w) {} };
struct Ctx { uint3 tid, bid; dim3 bdim, gdim; unsigned lane, lin; };
extern Ctx* cur;
[[noreturn]] void fail(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
int block_barrier(Loc, int kind, int pred);                       // kind 0 plain, 1 count, 2 and, 3 or
void grid_barrier(Loc);
using WarpFn = void (*)(void* const* lane, unsigned mask);        // run once, by the last lane to arrive
void warp_collective(Loc, unsigned mask, WarpFn, void* mine);
void* shared_static(const void* key, size_t bytes, size_t align);
void* shared_dynamic();
void atomic_point(const void*, size_t);
void fence();
void spin_hint();
unsigned active_mask();
void async_copy(void* dst, const void* src, int bytes, int src_bytes); void async_commit(); void async_wait(int n, bool all);

template <class T> inline T& shared_variable() {
  static const char key = 0;
  return *static_cast<T*>(shared_static(&key, sizeof(T), alignof(T)));
}
template <class T> inline T* dynamic_shared_memory() { return static_cast<T*>(shared_dynamic()); }

template <class T> struct kind_of {
  static constexpr const char* name = std::is_void_v<T> ? "void" : std::is_floating_point_v<T> ? "f" : std::is_same_v<T, bool> ? "b" : std::is_signed_v<T> ? "i" : std::is_unsigned_v<T> ? "u" : "struct";
};
template <class T> constexpr size_t size_of() { if constexpr (std::is_void_v<T>) return 1; else return sizeof(T); }
template <class T> int type_name(const char*& s) { s = __PRETTY_FUNCTION__; const char* at = strstr(s, "T = ") + 4; int n = strlen(at) - 1; s = at; return n; }
template <auto F> struct Kernel;
template <class... A, void (*F)(A...)> struct Kernel<F> {
  static void entry(void** a) { call(a, std::index_sequence_for<A...>{}); }
  template <size_t... I> static void call(void** a, std::index_sequence<I...>) { F(*static_cast<std::remove_cv_t<std::remove_reference_t<A>>*>(a[I])...); }
  template <class T> static void describe(char*& out) {
    using P = std::remove_pointer_t<T>; using E = std::remove_cv_t<P>;
    const char* name; int n = type_name<T>(name);
    out += sprintf(out, "%s|%s|%s|%zu|%.*s\n", std::is_pointer_v<T> ? "*" : "", std::is_const_v<P> ? "const" : "", kind_of<E>::name, size_of<E>(), n, name);
  }
  static void signature(char* out) { *out = 0; (describe<A>(out), ...); }
};
#define CUDA_EMULATOR_EXPORT(alias, ...) \
  extern "C" __attribute__((visibility("default"))) void emulator_entry_##alias(void** a) { cuda_emulator::Kernel<&__VA_ARGS__>::entry(a); } \
  extern "C" __attribute__((visibility("default"))) void emulator_signature_##alias(char* o) { cuda_emulator::Kernel<&__VA_ARGS__>::signature(o); }
}  // namespace cuda_emulator

#define threadIdx (cuda_emulator::cur->tid)
#define blockIdx (cuda_emulator::cur->bid)
#define blockDim (cuda_emulator::cur->bdim)
#define gridDim (cuda_emulator::cur->gdim)
constexpr int warpSize = 32;

// ---- barriers, warp primitives ----------------------------------------------------------------------------
inline void __syncthreads(cuda_emulator::Loc l = {"__syncthreads"}) { cuda_emulator::block_barrier(l, 0, 0); }
inline int __syncthreads_count(int p, cuda_emulator::Loc l = {"__syncthreads_count"}) { return cuda_emulator::block_barrier(l, 1, p); }
inline int __syncthreads_and(int p, cuda_emulator::Loc l = {"__syncthreads_and"}) { return cuda_emulator::block_barrier(l, 2, p); }
inline int __syncthreads_or(int p, cuda_emulator::Loc l = {"__syncthreads_or"}) { return cuda_emulator::block_barrier(l, 3, p); }
inline void __threadfence_block() { cuda_emulator::fence(); }
inline void __threadfence() { cuda_emulator::fence(); }
inline void __nanosleep(unsigned) { cuda_emulator::spin_hint(); }
inline unsigned __activemask() { return cuda_emulator::active_mask(); }
inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_emulator::Loc l = {"__syncwarp"}) {
  char c; cuda_emulator::warp_collective(l, mask, [](void* const*, unsigned) {}, &c); }
namespace cuda_emulator {
template <class T> struct Shfl { T v, r; int src; };
template <class T> inline T shfl(Loc l, unsigned mask, T v, int src) {
  static_assert(sizeof(T) <= 8, "shuffles take 4- or 8-byte values");
  Shfl<T> s{v, v, src};
  warp_collective(l, mask, [](void* const* lane, unsigned m) {
    for (int i = 0; i < 32; ++i) if (m >> i & 1) { auto* a = static_cast<Shfl<T>*>(lane[i]);
      if (m >> a->src & 1) a->r = static_cast<Shfl<T>*>(lane[a->src])->v;
      else memset(&a->r, 0xff, sizeof(T)); } }, &s);               // reading an inactive lane: undefined -> NaN
  return s.r;
}
struct Vote { unsigned p, r; };
inline unsigned ballot(Loc l, unsigned mask, bool p) {
  Vote v{p, 0};
  warp_collective(l, mask, [](void* const* lane, unsigned m) {
    unsigned b = 0; for (int i = 0; i < 32; ++i) if (m >> i & 1) b |= static_cast<Vote*>(lane[i])->p << i;
    for (int i = 0; i < 32; ++i) if (m >> i & 1) static_cast<Vote*>(lane[i])->r = b; }, &v);
  return v.r;
}
}
template <class T> inline T __shfl_sync(unsigned m, T v, int src, int w = 32, cuda_emulator::Loc l = {"__shfl_sync"}) {
  int L = cuda_emulator::cur->lane, base = L & ~(w - 1); return cuda_emulator::shfl(l, m, v, base + (src & (w - 1))); }
template <class T> inline T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, cuda_emulator::Loc l = {"__shfl_up_sync"}) {
  int L = cuda_emulator::cur->lane, base = L & ~(w - 1), s = L - (int)d; return cuda_emulator::shfl(l, m, v, s < base ? L : s); }
template <class T> inline T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, cuda_emulator::Loc l = {"__shfl_down_sync"}) {
  int L = cuda_emulator::cur->lane, base = L & ~(w - 1), s = L + (int)d; return cuda_emulator::shfl(l, m, v, s >= base + w ? L : s); }
template <class T> inline T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, cuda_emulator::Loc l = {"__shfl_xor_sync"}) {
  int L = cuda_emulator::cur->lane, base = L & ~(w - 1), s = L ^ x; return cuda_emulator::shfl(l, m, v, s >= base + w ? L : s); }
inline unsigned __ballot_sync(unsigned m, int p, cuda_emulator::Loc l = {"__ballot_sync"}) { return cuda_emulator::ballot(l, m, p); }
inline int __any_sync(unsigned m, int p, cuda_emulator::Loc l = {"__any_sync"}) { return cuda_emulator::ballot(l, m, p) != 0; }
inline int __all_sync(unsigned m, int p, cuda_emulator::Loc l = {"__all_sync"}) { return cuda_emulator::ballot(l, m, p) == m; }

// ---- atomics (fibers are cooperative, so a plain read-modify-write is atomic) ------------------------------
namespace cuda_emulator { template <class T, class F> inline T rmw(T* p, F f) __attribute__((no_sanitize("thread")));
template <class T, class F> inline T rmw(T* p, F f) { atomic_point(p, sizeof(T)); T o = *p; *p = f(o); return o; } }
template <class T> inline T atomicAdd(T* p, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T o) { return T(o + v); }); }
template <class T> inline T atomicSub(T* p, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T o) { return T(o - v); }); }
template <class T> inline T atomicMax(T* p, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T o) { return o < v ? v : o; }); }
template <class T> inline T atomicMin(T* p, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T o) { return v < o ? v : o; }); }
template <class T> inline T atomicExch(T* p, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T) { return v; }); }
template <class T> inline T atomicOr(T* p, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T o) { return T(o | v); }); }
template <class T> inline T atomicCAS(T* p, cuda_emulator::identity<T> c, cuda_emulator::identity<T> v) { return cuda_emulator::rmw(p, [=](T o) { return o == c ? v : o; }); }
inline unsigned atomicInc(unsigned* p, unsigned v) { return cuda_emulator::rmw(p, [=](unsigned o) { return o >= v ? 0u : o + 1; }); }

// ---- maths ------------------------------------------------------------------------------------------------
using std::isnan; using std::isinf; using std::isfinite;
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return exp2f(x * 1.44269504f); }     // same formula as ex2.approx(x*log2e): error grows with |x|
inline float __logf(float x) { return log2f(x) * 0.69314718f; }
inline float __log2f(float x) { return log2f(x); }
inline float __fdividef(float x, float y) { return fabsf(y) > 0x1p126f && !std::isinf(y) ? x * 0.0f : x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return (float)(1.0 / sqrt((double)x)); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
template <class A, class B> inline std::common_type_t<A, B> max(A a, B b) { using C = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<C>) return std::fmax((C)a, (C)b); else return (C)a > (C)b ? (C)a : (C)b; }
template <class A, class B> inline std::common_type_t<A, B> min(A a, B b) { using C = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<C>) return std::fmin((C)a, (C)b); else return (C)a < (C)b ? (C)a : (C)b; }
template <class To, class From> inline To emulator_bits(From f) { To t; static_assert(sizeof t == sizeof f); memcpy(&t, &f, sizeof t); return t; }
inline unsigned __float_as_uint(float f) { return emulator_bits<unsigned>(f); }
inline int __float_as_int(float f) { return emulator_bits<int>(f); }
inline float __uint_as_float(unsigned u) { return emulator_bits<float>(u); }
inline float __int_as_float(int u) { return emulator_bits<float>(u); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v ? __builtin_clz(v) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
inline int __float2int_rn(float f) { return (int)nearbyintf(f); }
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline void __stcs(T* p, cuda_emulator::identity<T> v) { *p = v; }
template <class T> inline void __stcg(T* p, cuda_emulator::identity<T> v) { *p = v; }
inline void __trap() { cuda_emulator::fail("__trap() executed"); }
inline uintptr_t __cvta_generic_to_shared(const void* p) { return reinterpret_cast<uintptr_t>(p); }
#undef assert
#define assert(c) ((c) ? (void)0 : cuda_emulator::fail("device assert failed: %s (%s:%d)", #c, __FILE__, __LINE__))
