/* add_tiles_<UNITS>: the sums of all columns of a row, PIXELS at once, for 8 * UNITS output
 * channels. A file of its own so that both numbers are constants, all loops are unrolled and sums
 * stay in registers. */

static __attribute__((noinline)) void NAME(add_tiles_, UNITS)(const mattec_row* row, int first,
                                                              const int8_t* weights_of_block) {
  const ptrdiff_t padded = row->padded;
  const int last = row->width - 1;
  for (int x = 0; x <= last; x += PIXELS) {
    __m256i sums[PIXELS][UNITS];
#pragma unroll
    for (int u = 0; u < UNITS; ++u) {
      const __m256i from = row->bias ? load(row->bias + first + 8 * u) : _mm256_setzero_si256();
#pragma unroll
      for (int p = 0; p < PIXELS; ++p) sums[p][u] = from;
    }
    const int8_t* weights = weights_of_block;
    const uint8_t* const* run = row->runs;
    for (int j = 0; j < row->segment_count; ++j) {
      const mattec_segment* segment = &row->segments[j];
      ptrdiff_t columns[PIXELS];
#pragma unroll
      for (int p = 0; p < PIXELS; ++p) /* columns beyond the row are its last one */
        columns[p] = (ptrdiff_t)(x + p < last ? x + p : last) * segment->step;
      for (int i = segment->runs; i > 0; --i) {
        const uint8_t* at = *run++;
        for (int groups = segment->bytes / DEPTH; groups > 0; --groups) {
          __m256i w[UNITS];
#pragma unroll
          for (int u = 0; u < UNITS; ++u) w[u] = load(weights + 32 * u);
#pragma unroll
          for (int p = 0; p < PIXELS; ++p) {
            const __m256i values = broadcast(at + columns[p]);
#pragma unroll
            for (int u = 0; u < UNITS; ++u) sums[p][u] = DOT_PRODUCT(sums[p][u], values, w[u]);
          }
          at += DEPTH;
          weights += 32 * UNITS;
        }
      }
      if (segment->shift != 0)
#pragma unroll
        for (int p = 0; p < PIXELS; ++p)
#pragma unroll
          for (int u = 0; u < UNITS; ++u)
            sums[p][u] = _mm256_sll_epi32(sums[p][u], _mm_cvtsi32_si128(segment->shift));
    }
    int32_t* to = row->sums + x * padded + first;
#pragma unroll
    for (int p = 0; p < PIXELS; ++p)
#pragma unroll
      for (int u = 0; u < UNITS; ++u)
        _mm256_storeu_si256((__m256i*)(void*)(to + p * padded + 8 * u), sums[p][u]);
  }
}

#undef PIXELS
#undef UNITS
