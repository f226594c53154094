// A kernel: everything that decides its machine code, and nothing that does not. Two calls with
// equal kernels share one function. Plain data, so that lower/ needs no Halide.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::lower {

// How a stored tensor lies in memory: [row][column][channel], strides in elements.
struct Layout {
  int channels = 0;  // that the kernel touches
  int pixel_stride = 0;
  int row_stride = 0;
};

enum class KernelKind { conv, depthwise, global_avg_pool, gate, upsample2, avg_pool2 };

// What happens to a convolution's value after its activation.
enum class Epilogue {
  store,  // residual added, rounded, onto the output grid
  gates,  // GRU: channels [0, C) are r, stored as round(r * h); channels [C, 2C) are z
  blend,  // GRU: h += z (c - h) in 16 bits, in place, and h's 8-bit copy
};

// Rows of the constants buffer, [constant_rows][output channels rounded up to channel_block], each
// entry 4 bytes. The arithmetic is ir/arithmetic.h's.
enum ConstantRow {
  row_bias,        // int32, zero points of the inputs folded in
  row_to_real,     // float
  row_to_grid,     // float
  row_second,      // float: residual, product (gates) or blend multiplier
  row_zero_point,  // int32: of the output (gates: of r * h), less rounding_bias
  row_low,         // float: lowest grid value less the zero point
  row_high,        // float: highest grid value less the zero point
  row_copy,        // blend: float multiplier of the 8-bit copy; residual: int32 zero point of it
  constant_rows
};

// A float of magnitude below 2^22 plus 1.5 * 2^23 has the rounded integer (to nearest even) in its
// low bits: one addition instead of round and convert. rounding_bias is those bits at zero.
constexpr float rounding_magic = 12582912.0F;
constexpr int32_t rounding_bias = 0x4B400000;

// Buffers in argument order, after first_row and row_count:
//   conv             inputs..., weights, constants, [residual | h | z], output | h, copy
//   depthwise        input, weights, constants, output
//   global_avg_pool  input, constants, output
//   gate             input, gate, constants, output
//   upsample2        input, output
//   avg_pool2        input, output
// Inputs of conv and depthwise start at the halo's first pixel that the kernel reads.
struct Kernel {
  KernelKind kind = KernelKind::conv;
  int width = 0;         // of the output, pixels
  int input_width = 0;   // upsample2, avg_pool2, global_avg_pool
  int input_height = 0;  // same
  std::vector<Layout> inputs;
  Layout output;  // of blend: h
  int kernel = 1, stride = 1, dilation = 1;
  int lanes = 4;  // channels that one dot-product instruction sums: groups of packed weights
  // Per segment: the accumulator is shifted left by this after the segment was added. With any
  // shift the bias is added at the end, otherwise at the beginning.
  std::vector<int> shifts;
  bool has_residual = false;
  Layout extra;  // residual, or h of gates, or z of blend
  Layout copy;   // 8-bit copy of blend
  Epilogue epilogue = Epilogue::store;
  ir::Activation activation = ir::Activation::none;
  ir::Rounding rounding = ir::Rounding::nearest_even;

  bool any_shift() const;
  double macs_per_row() const;
};

// Unique and readable, a C identifier: equal kernels have equal names.
std::string name_of(const Kernel& kernel);

constexpr int channel_block = 16;  // output channels of weights and constants are padded to this
inline int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace mattec::lower
