// Atomics. A thread gives way only where the runtime is called, so reading, changing and writing is atomic as it stands.
#pragma once

namespace cuda_emulator {

template <class T, class Change>
__attribute__((no_sanitize("thread"))) inline T atomically(T* address, Change change) {
  before_atomic(address, sizeof(T));
  const T old = *address;
  *address = change(old);
  return old;
}

}  // namespace cuda_emulator

template <class T>
inline T atomicAdd(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old + value); });
}

template <class T>
inline T atomicSub(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old - value); });
}

template <class T>
inline T atomicMax(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return old < value ? value : old; });
}

template <class T>
inline T atomicMin(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return value < old ? value : old; });
}

template <class T>
inline T atomicExch(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T) { return value; });
}

template <class T>
inline T atomicOr(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old | value); });
}

template <class T>
inline T atomicAnd(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old & value); });
}

template <class T>
inline T atomicXor(T* address, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return T(old ^ value); });
}

template <class T>
inline T atomicCAS(T* address, cuda_emulator::identity<T> compare, cuda_emulator::identity<T> value) {
  return cuda_emulator::atomically(address, [=](T old) { return old == compare ? value : old; });
}

inline unsigned atomicInc(unsigned* address, unsigned largest) {
  return cuda_emulator::atomically(address, [=](unsigned old) { return old >= largest ? 0u : old + 1; });
}

inline unsigned atomicDec(unsigned* address, unsigned largest) {
  return cuda_emulator::atomically(address, [=](unsigned old) { return old == 0 || old > largest ? largest : old - 1; });
}
