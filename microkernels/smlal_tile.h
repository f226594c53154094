/* add_tiles_<UNITS>: the sums of all columns of a row, PIXELS at once, for 8 * UNITS output
 * channels. A file of its own so that both numbers are constants, all loops are unrolled and sums
 * stay in registers. */

typedef int16x8_t NAME(sums_, UNITS)[PIXELS][UNITS];

/* 4 channels of all pixels. `is_first`: these products start the sums. TOGETHER pixels at once, so
 * that products of one sum are 6 instructions apart or more: the cycles that smlal takes in LLVM's
 * model of a Cortex-A53. */
static inline __attribute__((always_inline)) void NAME(add_group_, UNITS)(NAME(sums_, UNITS) sums,
                                                                          const int8_t** pixels,
                                                                          const int8_t* weights,
                                                                          int is_first) {
  int8x16_t w[UNITS][2]; /* of two channels each */
#pragma unroll
  for (int u = 0; u < UNITS; ++u)
#pragma unroll
    for (int i = 0; i < 2; ++i) w[u][i] = vld1q_s8(weights + 32 * u + 16 * i);
#pragma unroll
  for (int p = 0; p < PIXELS; p += TOGETHER) {
    int8x16x4_t values[TOGETHER];
#pragma unroll
    for (int t = 0; t < TOGETHER; ++t) {
      values[t] = vld4q_dup_s8(pixels[p + t]);
      pixels[p + t] += GROUP;
    }
#pragma unroll
    for (int i = 0; i < GROUP; ++i)
#pragma unroll
      for (int t = 0; t < TOGETHER; ++t)
#pragma unroll
        for (int u = 0; u < UNITS; ++u) {
          int16x8_t* sum = &sums[p + t][u];
          const int8x16_t both = w[u][i / 2], value = values[t].val[i];
          if (i % 2 != 0)
            *sum = vmlal_high_s8(*sum, both, value);
          else if (is_first && i == 0)
            *sum = vmull_s8(vget_low_s8(both), vget_low_s8(value));
          else
            *sum = vmlal_s8(*sum, vget_low_s8(both), vget_low_s8(value));
        }
  }
}

/* Adds the sums of 16 bits to those of 32 at `to`; `shift`: all of them, to the left. */
static inline __attribute__((always_inline)) void NAME(flush_, UNITS)(NAME(sums_, UNITS) sums,
                                                                      int32_t* to, ptrdiff_t padded,
                                                                      int shift) {
  const int32x4_t by = vdupq_n_s32(shift);
#pragma unroll
  for (int p = 0; p < PIXELS; ++p, to += padded)
#pragma unroll
    for (int u = 0; u < UNITS; ++u) {
      int32x4_t low = vaddw_s16(vld1q_s32(to + 8 * u), vget_low_s16(sums[p][u]));
      int32x4_t high = vaddw_high_s16(vld1q_s32(to + 8 * u + 4), sums[p][u]);
      if (shift != 0) {
        low = vshlq_s32(low, by);
        high = vshlq_s32(high, by);
      }
      vst1q_s32(to + 8 * u, low);
      vst1q_s32(to + 8 * u + 4, high);
    }
}

static inline __attribute__((always_inline)) void NAME(start_, UNITS)(const int32_t* bias,
                                                                      int32_t* to,
                                                                      ptrdiff_t padded) {
#pragma unroll
  for (int c = 0; c < 8 * UNITS; c += 4) {
    const int32x4_t from = bias ? vld1q_s32(bias + c) : vdupq_n_s32(0);
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) vst1q_s32(to + p * padded + c, from);
  }
}

static __attribute__((noinline)) void NAME(add_tiles_, UNITS)(const mattec_row* row, int first,
                                                              const int8_t* weights_of_block) {
  const ptrdiff_t padded = row->padded;
  const int last = row->width - 1;
  const int32_t* bias = row->bias ? row->bias + first : NULL;
  for (int x = 0; x <= last; x += PIXELS) {
    int32_t* to = row->sums + (ptrdiff_t)x * padded + first;
    NAME(start_, UNITS)(bias, to, padded);
    NAME(sums_, UNITS) sums;
    const int8_t* weights = weights_of_block;
    const uint8_t* const* run = row->runs;
    for (int j = 0; j < row->segment_count; ++j) {
      const mattec_segment* segment = &row->segments[j];
      const int most = segment->steps / GROUP;
      int left = -1; /* groups for which sums of 16 bits have room; below 0: there are no sums */
      ptrdiff_t columns[PIXELS];
#pragma unroll
      for (int i = 0; i < PIXELS; ++i) /* columns beyond the row are its last one */
        columns[i] = (ptrdiff_t)(x + i < last ? x + i : last) * segment->step;
      for (int i = segment->runs; i > 0; --i, ++run) {
        const int8_t* pixels[PIXELS];
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) pixels[p] = (const int8_t*)*run + columns[p];
        for (int groups = segment->bytes / GROUP; groups > 0;) {
          if (left <= 0) {
            if (left == 0) NAME(flush_, UNITS)(sums, to, padded, 0);
            NAME(add_group_, UNITS)(sums, pixels, weights, 1);
            weights += 8 * UNITS * GROUP;
            left = most - 1;
            --groups;
          }
          int now = left < groups ? left : groups;
          groups -= now;
          left -= now;
          for (; now > 0; --now) {
            NAME(add_group_, UNITS)(sums, pixels, weights, 0);
            weights += 8 * UNITS * GROUP;
          }
        }
      }
      if (segment->shift != 0) /* the next one's products may be larger */
        NAME(flush_, UNITS)(sums, to, padded, segment->shift);
      else
        NAME(flush_, UNITS)(sums, to, padded, 0);
    }
  }
}

#undef PIXELS
#undef TOGETHER
#undef UNITS
