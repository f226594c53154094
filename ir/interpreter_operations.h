// Inside the interpreter: the operations on integer tensors.
#pragma once

#include <vector>

#include "ir/arithmetic.h"
#include "ir/interpreter.h"

namespace mattec::ir {

// A convolution made ready: weights as 16-bit integers in the order in which they are read,
// everything that depends on an output channel only.
struct PackedConvolution {
  struct Segment {
    TensorId tensor = no_tensor;
    int channels = 0;
    int32_t factor = 1;  // 2^segment_shift
    // Dense: [output, rounded up to 4][row][column][channel], each output's run zero-padded to
    // `run`. Depthwise: [row][column][channel].
    std::vector<int16_t> weight;
    size_t run = 0;
    std::vector<int32_t> zero_point;  // per channel
    std::vector<int32_t> halo;        // per channel: the integer outside the image
  };
  std::vector<Segment> segments;
  std::vector<EpilogueConstants> constants;  // per output channel
  std::vector<Bounds> bounds;
  std::vector<int32_t> zero_point;           // of the output
  std::vector<int32_t> residual_zero_point;  // empty without a residual
};
PackedConvolution pack(const Graph& graph, const Op& op);

using Values = std::vector<IntegerTensor>;

// Each reads its inputs from `values` and fills its output, whose size is already set.
void convolve(const Op& op, const PackedConvolution& packed, Values& values);

// An operation and the values of a frame so far.
struct Operands {
  const Graph& graph;
  const Op& op;
  Values& values;

  const IntegerTensor& value(size_t i) const { return values[static_cast<size_t>(op.inputs[i])]; }
  const Grid& grid(size_t i) const { return *graph.tensor(op.inputs[i]).grid; }
  IntegerTensor& out() const { return values[static_cast<size_t>(op.output)]; }
  const Grid& out_grid() const { return *graph.tensor(op.output).grid; }
};
void interpret_avg_pool2(const Operands& of);
void interpret_global_avg_pool(const Operands& of);
void interpret_upsample2(const Operands& of);
void interpret_slice(const Operands& of);
void interpret_mul(const Operands& of);
void interpret_blend(const Operands& of);
void interpret_requantize(const Operands& of);

}  // namespace mattec::ir
