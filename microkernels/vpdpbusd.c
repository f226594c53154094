/* AVX-VNNI: vpdpbusd adds 4 products to each of 8 sums of 32 bits, unsigned by signed bytes. Halide
 * has it for AVX-512 alone. Weights as lower::pack_dense makes them with a depth of 4. */
#include <immintrin.h>

#include "microkernels/accumulate.h"

enum { DEPTH = 4 };

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)

/* The same instruction in AVX-512's encoding, for tests on processors without AVX-VNNI. */
#ifdef __AVXVNNI__
#define DOT_PRODUCT _mm256_dpbusd_avx_epi32
#define ACCUMULATE accumulate_vpdpbusd
#else
#define DOT_PRODUCT _mm256_dpbusd_epi32
#define ACCUMULATE accumulate_vpdpbusd_avx512
#endif

static inline __m256i load(const void* from) { return _mm256_loadu_si256((const __m256i*)from); }
static inline __m256i broadcast(const uint8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, sizeof four);
  return _mm256_set1_epi32(four);
}

/* 12 sums, which leave 4 registers for inputs and weights. */
#define UNITS 1
#define PIXELS 8
#include "microkernels/vpdpbusd_tile.h"
#define UNITS 2
#define PIXELS 6
#include "microkernels/vpdpbusd_tile.h"
#define UNITS 3
#define PIXELS 4
#include "microkernels/vpdpbusd_tile.h"

static void accumulate(const mattec_row* row) {
  static const mattec_add_tiles add_tiles[] = {add_tiles_1, add_tiles_2, add_tiles_3};
  mattec_add_blocks(row, add_tiles, sizeof add_tiles / sizeof add_tiles[0], 8);
}

MATTEC_DEFINE_ACCUMULATE(ACCUMULATE)
