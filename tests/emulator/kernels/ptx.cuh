// The only file with two bodies: inline PTX on a GPU, calls of the emulator on a CPU.
#pragma once

#ifdef CUDA_EMULATOR

#include "emulated_ptx.h"

__device__ __forceinline__ void mma_bf16_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  cuda_emulator::mma_m16n8k16<__nv_bfloat16>(d, a, b, d);
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  cuda_emulator::ldmatrix<4, false>(r, row);
}
__device__ __forceinline__ void cp_async16(void* destination, const void* source) {
  cuda_emulator::async_copy(destination, source, 16, 16);
}
__device__ __forceinline__ void cp_async_commit() {
  cuda_emulator::async_commit();
}
template <int StillOpen>
__device__ __forceinline__ void cp_async_wait() {
  cuda_emulator::async_wait(StillOpen);
}

#else

__device__ __forceinline__ void mma_bf16_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((unsigned)__cvta_generic_to_shared(row))
               : "memory");
}
__device__ __forceinline__ void cp_async16(void* destination, const void* source) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
               :
               : "r"((unsigned)__cvta_generic_to_shared(destination)), "l"(source)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int StillOpen>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(StillOpen) : "memory");
}

#endif
