// A block of a quantized network as a differentiable function of what its reconstruction changes:
// roundings of weights, biases, scales of activations.
#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include "ir/graph.h"
#include "quant/adjust.h"
#include "quant/blocks.h"
#include "quant/executor.h"
#include "quant/rounding.h"
#include "quant/soft_weights.h"

namespace mattec::quant {

using Values = std::vector<torch::Tensor>;  // by tensor of a graph; undefined where not there

// The operations of a block, one frame. `values` holds what the block reads.
void run_block(const ir::Graph& graph, const Block& block, const Executor& executor,
               Values& values);

class BlockNetwork {
 public:
  // The graphs and the block must outlive it. `fused`: what `quantized` was made from.
  BlockNetwork(const ir::Graph& quantized, const ir::Graph& fused, const Block& block,
               uint64_t seed, Abort abort = {});
  BlockNetwork(const BlockNetwork&) = delete;  // the hooks hold its address
  BlockNetwork& operator=(const BlockNetwork&) = delete;

  std::vector<torch::Tensor> roundings() const;
  std::vector<torch::Tensor> biases() const;
  // Logarithms of factors on the scales of the block's own tensors that may move (adjust.h).
  const std::vector<torch::Tensor>& scales() const { return scales_; }

  // Of each convolution (SoftWeights).
  std::vector<torch::Tensor> indecision(double beta) const;
  enum class Weights { soft, hard };
  // Takes the present parameters over, for the runs that follow. Of the values that the block
  // stores, a random share `dropped` is left unrounded (QDrop).
  void prepare(Weights weights, double dropped);
  void run(Values& values) const { run_block(quantized_, block_, executor_, values); }

  // The whole graph with the present parameters, rounded; verified.
  ir::Graph folded() const;

 private:
  struct Convolution {
    size_t op;
    SoftWeights weights;
    torch::Tensor bias, shift, shift_unit;  // [O]: real, trained
    torch::Tensor accumulator;              // [O]: scale of the sums
    torch::Tensor log_factor;               // of the input's scale; undefined = 0
  };
  void find_scales();
  void add_convolution(size_t index, const std::vector<float>& weight);
  torch::Tensor stored(ir::TensorId id, const torch::Tensor& value) const;
  static torch::Tensor bias(const Convolution& convolution);
  static torch::Tensor rounded_bias(const Convolution& convolution);
  void fold_weights(ir::Graph& graph, const Convolution& convolution) const;

  const ir::Graph& quantized_;
  const Block& block_;
  Executor executor_;
  std::vector<GridRounding> rounding_;  // per tensor
  MovableScales movable_;
  std::vector<torch::Tensor> scales_;
  std::vector<int> scale_of_;  // per movable scale: index into scales_, or -1
  std::vector<Convolution> convolutions_;
  double dropped_ = 0;
  mutable at::Generator generator_;
};

// A simulator of the whole graph with trained_roundings.
Executor block_simulator(const ir::Graph& quantized, Abort abort = {});

}  // namespace mattec::quant
