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

enum class KernelKind {
  conv,
  depthwise,
  global_avg_pool,
  gate,
  upsample2,
  avg_pool2,
  requantize,  // copies alone: what no other kernel could write
  gather,      // the same of some channels, side by side
  unpack,      // weights of 4 bits to 8 or 16
  widen,       // weights of 8 bits to 16
};

// What happens to a convolution's value after its activation.
enum class Epilogue {
  store,  // residual added, rounded, onto the output grid
  gates,  // GRU: channels [0, C) are r, stored as round(r * h); channels [C, 2C) are z
  blend,  // GRU: h += z (c - h) in 16 bits, in place, and h's copies
};

// Rows of the constants buffer, [rows that the kernel has][output channels rounded up to
// channel_block], each entry 4 bytes. The arithmetic is ir/arithmetic.h's.
enum ConstantRow {
  row_bias,        // int32: zero points of the inputs folded in; without weights: the input's
  row_to_grid,     // float
  row_zero_point,  // int32: of the output (gates: of r * h), less rounding_bias
  row_low,         // float (int32 where clamped in 16 bits): lowest grid value less the zero point
  row_high,        // the same of the highest
  row_to_real,     // float: activations of real values
  row_second,      // float: residual, product (gates) or blend multiplier
  row_residual,    // int32: the residual's zero point; gate: the gate's
  row_source,      // int32: the input's channel (gather)
  row_first_copy,  // then copy_rows for each copy
};
// A copy's own multiplier and grid; the last three as row_zero_point, row_low and row_high.
enum CopyRow { copy_multiplier, copy_zero_point, copy_low, copy_high, copy_rows };

// A float of magnitude below 2^22 plus 1.5 * 2^23 has the rounded integer (to nearest even) in its
// low bits: one addition instead of round and convert. rounding_bias is those bits at zero.
constexpr float rounding_magic = 12582912.0F;
constexpr int32_t rounding_bias = 0x4B400000;

// Buffers in argument order, after first_row and row_count:
//   conv             inputs..., weights, constants, [residual | h | z], outputs
//   depthwise        input, weights, constants, outputs
//   global_avg_pool  input, constants, outputs
//   gate             input, gate, constants, outputs
//   upsample2        input, [constants], outputs
//   avg_pool2        input, [constants], outputs
//   requantize       input, constants, outputs
//   gather           input, constants, output
//   unpack, widen    input, output: blocks of weights, one a row
// Outputs are the tensor itself, unless `only_copies`, then its copies; blend's is h.
// Inputs of conv and depthwise start at the halo's first pixel that the kernel reads.
struct Kernel {
  KernelKind kind = KernelKind::conv;
  int width = 0;         // of the output, pixels
  int input_width = 0;   // upsample2, avg_pool2, global_avg_pool
  int input_height = 0;  // same
  std::vector<Layout> inputs;
  Layout output;               // the first tensor written
  std::vector<Layout> copies;  // further ones
  bool only_copies = false;    // `output` is a copy, too
  int kernel = 1, stride = 1, dilation = 1;
  // The dot product's (Isa): channels that it sums, groups of packed weights; bits of its factors.
  int depth = 4;
  int factor_bits = 8;
  // MicroKernel::name: this makes the sums, not Halide.
  std::string microkernel = {};
  // The inputs of a filter's row are read as if they were channels of one pixel, where they lie
  // side by side: fewer and larger groups.
  bool joins_positions = false;
  // Per segment: how many steps, groups of `depth` channels, a sum of 16 bits may take, by the bits
  // of inputs and weights. Empty: all sums have 32 bits from the start. A step adds two products to
  // each of two sums (depth 4), or, in a micro-kernel, one to one.
  std::vector<int> short_steps;
  // Per segment: the accumulator is shifted left by this after the segment was added. With any
  // shift the bias is added at the end, otherwise at the beginning.
  std::vector<int> shifts;
  // Tensors are stored as signed bytes (stored_offset).
  bool is_signed = false;
  // Isa::saturating_narrowing: bounds are integers, and zero points are not less rounding_bias.
  bool clamps_in_16_bits = false;
  // With it: no value of the tensor needs saturation to be in 16 bits; and then every channel's
  // range is all that a byte holds, so that saturation clamps. Nor do copies' values need
  // saturation.
  bool fits_16_bits = false, fills_bytes = false, copies_fit_16_bits = false;
  bool has_residual = false;
  Layout extra;  // residual, or h of gates, or z of blend
  Epilogue epilogue = Epilogue::store;
  ir::Activation activation = ir::Activation::none;
  ir::Rounding rounding = ir::Rounding::nearest_even;

  bool any_shift() const;
  int copy_count() const { return static_cast<int>(copies.size()) + (only_copies ? 1 : 0); }
  double macs_per_row() const;
};

// none, relu and clamp01: the accumulator goes to the grid with one multiplication.
bool is_linear(ir::Activation activation);

// What lies side by side under a row of the filter: as many positions as `positions`, in so many
// `runs`. All of them where pixels have no gaps, and the kernel joins_positions.
struct Runs {
  int runs = 1, positions = 1;
};
Runs runs_of(const Kernel& kernel, const Layout& input);

// Rows of the kernel's constants (0: it takes none), and where a row or a copy's row is among them.
bool has_row(const Kernel& kernel, ConstantRow row);
int constant_rows(const Kernel& kernel);
int row_of(const Kernel& kernel, ConstantRow row);
int row_of(const Kernel& kernel, int copy, CopyRow row);

// Steps of `products` products of inputs, unsigned or stored as signed bytes, and signed weights
// that 16 bits hold: of two 8 of u8 and s4, 136 of u4 and s4, none of u8 and s8; of one 31 of s8
// and s4.
int short_steps(int products, int input_bits, bool is_signed, int weight_bits);

// What the integers of an unsigned grid are stored less where bytes are signed: 128, or 8 of 4
// bits. Zero points are, too, so that real values do not change; kernels' zero points are those.
int stored_offset(const ir::Grid& grid, bool is_signed);

// Unique and readable, a C identifier: equal kernels have equal names.
std::string name_of(const Kernel& kernel);

constexpr int weight_block = 64;   // weights that are packed and unpacked together
constexpr int channel_block = 16;  // output channels of weights and constants are padded to this
inline int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace mattec::lower
