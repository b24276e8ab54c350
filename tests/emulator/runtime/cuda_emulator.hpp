// What a kernel finds as CUDA C++ when it is compiled for the CPU; included before its first line.
#pragma once

#include "device/qualifiers.hpp"
#include "device/vector_types.hpp"

#include "device/runtime_interface.hpp"

#include "device/atomics.hpp"
#include "device/export.hpp"
#include "device/loads_and_stores.hpp"
#include "device/maths.hpp"
#include "device/synchronization.hpp"
#include "device/warp.hpp"

// NVRTC defines neither, so a kernel that relies on them must not compile here.
#undef INFINITY
#undef NAN

#undef assert
#define assert(condition) \
  ((condition) ? (void)0 : cuda_emulator::fail("device assert failed: %s (%s:%d)", #condition, __FILE__, __LINE__))
