// Atomics. A thread gives way only where the runtime is called, so reading, changing and writing is atomic as it is.
#pragma once

namespace cuda_emulator {

template <class T>
__attribute__((no_sanitize("thread"))) inline T load(const T* address) {
  return *address;
}

template <class T>
__attribute__((no_sanitize("thread"))) inline void store(T* address, T value) {
  *address = value;
}

// Inlined with all that calls it, so that the runtime sees the kernel's line as the one that it was called from.
template <class T, class Change>
__forceinline__ T atomically(T* address, Change change) {
  before_atomic(address, sizeof(T));
  const T old = load(address);
  store(address, change(old));
  return old;
}

}  // namespace cuda_emulator

template <class T>
__forceinline__ T atomicAdd(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old + value); });
}

template <class T>
__forceinline__ T atomicSub(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old - value); });
}

template <class T>
__forceinline__ T atomicMax(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return old < value ? value : old; });
}

template <class T>
__forceinline__ T atomicMin(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return value < old ? value : old; });
}

template <class T>
__forceinline__ T atomicExch(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T) { return value; });
}

template <class T>
__forceinline__ T atomicOr(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old | value); });
}

template <class T>
__forceinline__ T atomicAnd(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old & value); });
}

template <class T>
__forceinline__ T atomicXor(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old ^ value); });
}

template <class T>
__forceinline__ T atomicCAS(T* address, cuda_emulator::identity<T> compare, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return old == compare ? value : old; });
}

__forceinline__ unsigned atomicInc(unsigned* address, unsigned largest) {
  return cuda_emulator::atomically(address, [=](unsigned old) { return old >= largest ? 0u : old + 1; });
}

__forceinline__ unsigned atomicDec(unsigned* address, unsigned largest) {
  const auto change = [=](unsigned old) { return old == 0 || old > largest ? largest : old - 1; };
  return cuda_emulator::atomically(address, change);
}
