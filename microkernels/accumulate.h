/* What the micro-kernels share: the sums of a dense convolution over one row of the output, for
 * instructions that Halide has no pattern for. A kernel's Halide pipeline calls its micro-kernel
 * once a row (generators/microkernel.cpp) and does the rest: activations, rounding, copies. */
#ifndef MATTEC_MICROKERNELS_ACCUMULATE_H
#define MATTEC_MICROKERNELS_ACCUMULATE_H

#include <stddef.h>

#include "microkernels/blocks.h"
#include "runtime/model.h"

enum {
  MATTEC_MOST_SEGMENTS = 6,
  MATTEC_MOST_RUNS = 64,
  MATTEC_MOST_PIXELS = 8 /* of a tile: a row of sums has room for a last one that reaches beyond */
};

/* A tensor that is convolved. A run is what lies side by side under a filter: a row of its
 * positions, or one. */
typedef struct {
  const uint8_t* data; /* the halo's first pixel that the first output row reads */
  int32_t pixel_stride, row_stride;
  int32_t runs;  /* of a row of the filter; mattec_start_row makes it all of the filter's */
  int32_t bytes; /* of a run, a multiple of the depth; weights of what the tensor lacks are 0 */
  int32_t shift; /* of all sums to the left, when this tensor was added */
  int32_t steps; /* products that a sum of 16 bits holds */
  int32_t step;  /* bytes from what an output column reads to what the next one does */
} mattec_segment;

/* A row of sums. */
typedef struct {
  mattec_segment segments[MATTEC_MOST_SEGMENTS]; /* in the order of the weights */
  const uint8_t* runs[MATTEC_MOST_RUNS];         /* of output column 0, segment by segment */
  int32_t segment_count;
  int32_t width, outputs;
  int32_t padded;        /* outputs that bias and sums have room for */
  const int8_t* weights; /* lower::pack_dense */
  const int32_t* bias;   /* null: the caller adds it */
  int32_t* sums;         /* [column][output, padded] */
} mattec_row;

/* Finds the runs of row y of the output. */
static inline void mattec_start_row(mattec_row* row, int kernel, int stride, int dilation, int y) {
  const uint8_t** next = row->runs;
  for (int j = 0; j < row->segment_count; ++j) {
    mattec_segment* segment = &row->segments[j];
    for (int filter_row = 0; filter_row < kernel; ++filter_row)
      for (int run = 0; run < segment->runs; ++run)
        *next++ = segment->data +
                  (ptrdiff_t)(y * stride + filter_row * dilation) * segment->row_stride +
                  (ptrdiff_t)run * dilation * segment->pixel_stride;
    segment->runs *= kernel;
    segment->step = stride * segment->pixel_stride;
  }
}

/* Does the row's outputs in blocks of at most `most` units of `unit` channels. add_tiles[n - 1]
 * does a block of n units: from a channel on, whose weights begin there. */
typedef void (*mattec_add_tiles)(const mattec_row*, int first, const int8_t* weights);
static inline void mattec_add_blocks(const mattec_row* row, const mattec_add_tiles* add_tiles,
                                     int most, int unit) {
  const int8_t* weights = row->weights;
  int bytes = 0; /* of weights for one output */
  for (int j = 0; j < row->segment_count; ++j)
    bytes += row->segments[j].runs * row->segments[j].bytes;
  int left = (row->outputs + unit - 1) / unit, first = 0;
  while (left > 0) {
    const int units = mattec_block_units(left, most);
    add_tiles[units - 1](row, first, weights);
    first += unit * units;
    weights += (ptrdiff_t)unit * units * bytes;
    left -= units;
  }
}

/* halide_dimension_t */
typedef struct {
  int32_t min, extent, stride;
  uint32_t flags;
} mattec_dimension;

#define MATTEC_SEGMENT_PARAMETERS(i)                                                 \
  int32_t pixel_stride##i, int32_t row_stride##i, int32_t runs##i, int32_t bytes##i, \
      int32_t shift##i, int32_t steps##i
#define MATTEC_SEGMENT(i) \
  { in##i->host, pixel_stride##i, row_stride##i, runs##i, bytes##i, shift##i, steps##i, 0 }
#define MATTEC_PARAMETERS                                                                       \
  const mattec_kernel_buffer *in0, const mattec_kernel_buffer *in1,                             \
      const mattec_kernel_buffer *in2, const mattec_kernel_buffer *in3,                         \
      const mattec_kernel_buffer *in4, const mattec_kernel_buffer *in5,                         \
      const mattec_kernel_buffer *weights, const mattec_kernel_buffer *bias,                    \
      int32_t segment_count, int32_t kernel, int32_t stride, int32_t dilation, int32_t width,   \
      int32_t outputs, int32_t padded, int32_t is_bias_added, MATTEC_SEGMENT_PARAMETERS(0),     \
      MATTEC_SEGMENT_PARAMETERS(1), MATTEC_SEGMENT_PARAMETERS(2), MATTEC_SEGMENT_PARAMETERS(3), \
      MATTEC_SEGMENT_PARAMETERS(4), MATTEC_SEGMENT_PARAMETERS(5), mattec_kernel_buffer *sums

/* Defines `name`, the function that a pipeline calls for a row, around accumulate(const
 * mattec_row*). Halide first asks for the bounds of each buffer, whose memory is then null: all are
 * constants of the pipeline. */
#define MATTEC_DEFINE_ACCUMULATE(name) MATTEC_DEFINE_ACCUMULATE_(name)
#define MATTEC_DEFINE_ACCUMULATE_(name)                                                            \
  int name(MATTEC_PARAMETERS);                                                                     \
  int name(MATTEC_PARAMETERS) {                                                                    \
    if (sums->host == NULL || weights->host == NULL) return 0;                                     \
    mattec_row row; /* as a whole it would be a call of memset, which firmware need not have */    \
    row.segments[0] = (mattec_segment)MATTEC_SEGMENT(0);                                           \
    row.segments[1] = (mattec_segment)MATTEC_SEGMENT(1);                                           \
    row.segments[2] = (mattec_segment)MATTEC_SEGMENT(2);                                           \
    row.segments[3] = (mattec_segment)MATTEC_SEGMENT(3);                                           \
    row.segments[4] = (mattec_segment)MATTEC_SEGMENT(4);                                           \
    row.segments[5] = (mattec_segment)MATTEC_SEGMENT(5);                                           \
    row.segment_count = segment_count;                                                             \
    row.width = width;                                                                             \
    row.outputs = outputs;                                                                         \
    row.padded = padded;                                                                           \
    row.weights = (const int8_t*)weights->host;                                                    \
    row.bias = is_bias_added ? (const int32_t*)(const void*)bias->host : NULL;                     \
    row.sums = (int32_t*)(void*)sums->host;                                                        \
    mattec_start_row(&row, kernel, stride, dilation, ((const mattec_dimension*)sums->dim)[2].min); \
    accumulate(&row);                                                                              \
    return 0;                                                                                      \
  }

#endif
