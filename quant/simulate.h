// A quantized graph in LibTorch: the values that the integer engine would have, in float. Fast
// where the interpreter is slow; differs from it by the roundings that fall on the other side
// (exact sigmoid and tanh, float sums).
#pragma once

#include "ir/graph.h"
#include "quant/executor.h"

namespace mattec::quant {

// An executor with the real values of the integer weights, whose stored tensors are rounded.
// `quantized` must outlive it.
Executor simulator(const ir::Graph& quantized);

// The real values of the integer weights and biases.
Parameters real_parameters(const ir::Graph& quantized);

// The quantized graph's operations with the float network's borders, which quantize() moves to the
// nearest grid value. With the parameters of `fused` it computes what `fused` does, and a tensor
// has one number in both.
ir::Graph with_float_borders(const ir::Graph& quantized, const ir::Graph& fused);

// [N][C][H][W] rounded to the nearest grid value and clamped to the grid's ends, as real values.
torch::Tensor round_to_grid(const torch::Tensor& value, const ir::Grid& grid);

}  // namespace mattec::quant
