// Philox4x32-10, the counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), and the
// dropout mask that it decides: unit n of a layer is kept where its 32-bit number is at least `threshold`.
#pragma once

// What decides the masks of one layer: the numbers of stream (step, layer) under a key, from number `first` on.
struct DropoutStream {
  unsigned key0, key1, step, layer;
  unsigned long long threshold, first;  // 0 keeps and 2^32 drops everything
};

// Numbers 4 block to 4 block + 3 of the stream.
__device__ inline uint4 philox(const DropoutStream& stream, unsigned long long block) {
  unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32), c2 = stream.step, c3 = stream.layer;
  unsigned k0 = stream.key0, k1 = stream.key1;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
    c1 = (unsigned)p1;
    c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
    c3 = (unsigned)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return make_uint4(c0, c1, c2, c3);
}

// kept[i] says whether unit n + i is kept. n is a multiple of COUNT, and so is stream.first of 4: a pack of up to 4
// lies within one block of numbers, a larger one takes whole blocks.
template <int COUNT>
__device__ void draw_kept(const DropoutStream& stream, long long n, bool (&kept)[COUNT]) {
  static_assert(COUNT <= 4 || COUNT % 4 == 0, "a block holds four numbers");
  const unsigned long long number = stream.first + n;
#pragma unroll
  for (int block = 0; block < COUNT; block += 4) {
    const uint4 numbers = philox(stream, (number + block) / 4);
    const unsigned lanes[4] = {numbers.x, numbers.y, numbers.z, numbers.w};
#pragma unroll
    for (int i = block; i < COUNT && i < block + 4; ++i) {
      const unsigned lane = COUNT >= 4 ? i - block : (unsigned)(number % 4) + i;
      const unsigned drawn = lane == 0 ? lanes[0] : lane == 1 ? lanes[1] : lane == 2 ? lanes[2] : lanes[3];
      kept[i] = drawn >= stream.threshold;
    }
  }
}
