// Loads and stores with cache hints, which a CPU has no use for.
#pragma once

#define CUDA_EMULATOR_LOAD(NAME)          \
  template <class T>                      \
  inline T NAME(const T* address) {       \
    return *address;                      \
  }
#define CUDA_EMULATOR_STORE(NAME)                                   \
  template <class T>                                                \
  inline void NAME(T* address, cuda_emulator::identity<T> value) {  \
    *address = value;                                               \
  }

CUDA_EMULATOR_LOAD(__ldg)
CUDA_EMULATOR_LOAD(__ldca)
CUDA_EMULATOR_LOAD(__ldcg)
CUDA_EMULATOR_LOAD(__ldcs)
CUDA_EMULATOR_LOAD(__ldcv)
CUDA_EMULATOR_LOAD(__ldlu)
CUDA_EMULATOR_STORE(__stcg)
CUDA_EMULATOR_STORE(__stcs)
CUDA_EMULATOR_STORE(__stwb)
CUDA_EMULATOR_STORE(__stwt)

inline uintptr_t __cvta_generic_to_shared(const void* address) {
  return reinterpret_cast<uintptr_t>(address);
}
