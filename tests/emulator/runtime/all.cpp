// The runtime as one translation unit: the compiler sees across its files, and the check of an access is quick.
//
//   state.hpp            threads, blocks, the launch; who calls whom
//   arrays.cpp           the arrays that are known, and how messages name an address
//   fibers.cpp           a stack and a saved stack pointer for each CUDA thread
//   async_copies.cpp     cp.async
//   shared_memory.cpp    the shared memory of a block
//   races.cpp            which accesses are ordered, and reports of those that are not
//   accesses.cpp         the check of one access
//   barriers.cpp         barriers of block and grid, collectives of a warp
//   scheduling.cpp       whose turn it is; deadlocks
//   faults.cpp           signals that became messages
//   launch.cpp           the interface to Python
//   sanitizer_hooks.cpp  what g++ calls around accesses
#include "state.hpp"

#include "arrays.cpp"
#include "fibers.cpp"
#include "shared_memory.cpp"
#include "races.cpp"
#include "accesses.cpp"
#include "async_copies.cpp"
#include "barriers.cpp"
#include "scheduling.cpp"
#include "faults.cpp"
#include "launch.cpp"
#include "sanitizer_hooks.cpp"
