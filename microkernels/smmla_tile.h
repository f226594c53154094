/* add_tiles_<QUADS>: the sums of all columns of a row, PAIRS pairs of them at once, for 4 * QUADS
 * output channels. A file of its own so that both numbers are constants, all loops are unrolled and
 * sums stay in registers. */

/* The sums of 2 pixels and 2 channels: both channels of the first pixel, then of the second. */
typedef int32x4_t NAME(sums_, QUADS)[PAIRS][2 * QUADS];

/* Weights of a group. */
#define GROUP (4 * QUADS * DEPTH)

/* One group of channels. Two registers of weights at once: ldp. */
static inline __attribute__((always_inline)) void NAME(multiply_, QUADS)(NAME(sums_, QUADS) sums,
                                                                         const int8x16_t* values,
                                                                         const int8_t* weights) {
#pragma unroll
  for (int c = 0; c < 2 * QUADS; c += 2) {
    const int8x16_t even = vld1q_s8(weights + 16 * c), odd = vld1q_s8(weights + 16 * (c + 1));
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) sums[p][c] = vmmlaq_s32(sums[p][c], values[p], even);
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) sums[p][c + 1] = vmmlaq_s32(sums[p][c + 1], values[p], odd);
  }
}

static inline __attribute__((always_inline)) void NAME(start_, QUADS)(NAME(sums_, QUADS) sums,
                                                                      const int32_t* bias) {
#pragma unroll
  for (int c = 0; c < 2 * QUADS; ++c) {
    const int32x2_t from = bias ? vld1_s32(bias + 2 * c) : vdup_n_s32(0);
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) sums[p][c] = vcombine_s32(from, from);
  }
}

static inline __attribute__((always_inline)) void NAME(store_, QUADS)(NAME(sums_, QUADS) sums,
                                                                      int32_t* made,
                                                                      ptrdiff_t padded) {
#pragma unroll
  for (int p = 0; p < PAIRS; ++p, made += 2 * padded)
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      const int64x2_t a = vreinterpretq_s64_s32(sums[p][2 * q]);
      const int64x2_t b = vreinterpretq_s64_s32(sums[p][2 * q + 1]);
      vst1q_s32(made + 4 * q, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
      vst1q_s32(made + padded + 4 * q, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
    }
}

/* Channels that follow each other in memory; returns where the next run's weights are. `columns`:
 * bytes from `first` to each pixel. */
static inline __attribute__((always_inline)) const int8_t* NAME(add_run_, QUADS)(
    NAME(sums_, QUADS) sums, const int8_t* first, const ptrdiff_t* columns, int bytes,
    const int8_t* weights) {
  for (unsigned turns = (unsigned)bytes / (2 * DEPTH); turns != 0; --turns) {
    int8x16_t low[PAIRS], high[PAIRS];
#pragma unroll
    for (int p = 0; p < PAIRS; ++p) {
      const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(first + columns[2 * p]));
      const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(first + columns[2 * p + 1]));
      low[p] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
      high[p] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
    NAME(multiply_, QUADS)(sums, low, weights);
    NAME(multiply_, QUADS)(sums, high, weights + GROUP);
    first += 2 * DEPTH;
    weights += 2 * GROUP;
  }
  if (bytes % (2 * DEPTH) != 0) {
    int8x16_t values[PAIRS];
#pragma unroll
    for (int p = 0; p < PAIRS; ++p)
      values[p] = vcombine_s8(vld1_s8(first + columns[2 * p]), vld1_s8(first + columns[2 * p + 1]));
    NAME(multiply_, QUADS)(sums, values, weights);
    weights += GROUP;
  }
  return weights;
}

static __attribute__((noinline)) void NAME(add_tiles_, QUADS)(const mattec_row* row, int first,
                                                              const int8_t* weights_of_block) {
  const ptrdiff_t padded = row->padded;
  const int last = row->width - 1;
  const int32_t* bias = row->bias ? row->bias + first : NULL;
  for (int x = 0; x <= last; x += 2 * PAIRS) {
    NAME(sums_, QUADS) sums;
    NAME(start_, QUADS)(sums, bias);
    const int8_t* weights = weights_of_block;
    const uint8_t* const* run = row->runs;
    for (int j = 0; j < row->segment_count; ++j) {
      const mattec_segment* segment = &row->segments[j];
      const int bytes = segment->bytes;
      ptrdiff_t columns[2 * PAIRS];
#pragma unroll
      for (int i = 0; i < 2 * PAIRS; ++i) /* columns beyond the row are its last one */
        columns[i] = (ptrdiff_t)(x + i < last ? x + i : last) * segment->step;
      for (int i = segment->runs; i > 0; --i)
        weights = NAME(add_run_, QUADS)(sums, (const int8_t*)*run++, columns, bytes, weights);
      if (segment->shift != 0)
#pragma unroll
        for (int c = 0; c < 2 * QUADS; ++c)
#pragma unroll
          for (int p = 0; p < PAIRS; ++p)
            sums[p][c] = vshlq_s32(sums[p][c], vdupq_n_s32(segment->shift));
    }
    NAME(store_, QUADS)(sums, row->sums + (ptrdiff_t)x * padded + first, padded);
  }
}

#undef GROUP
#undef PAIRS
#undef QUADS
