// A quantized network as a differentiable function of what training may change after rounding:
// Global Affine Calibration (PTQ4VM) and the scales of activations. Both fold into the integer
// engine's multipliers and biases, so they cost nothing at run time.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/executor.h"

namespace mattec::quant {

class TrainableNetwork {
 public:
  // `quantized` must outlive it.
  explicit TrainableNetwork(const ir::Graph& quantized, Abort abort = {});

  // All gains, then all shifts: y = exp(gain) W x + bias + shift unit, per output channel of every
  // convolution, 0 at first.
  std::vector<torch::Tensor> affine() const;
  // Logarithms of factors on the scales of activations that may move (adjust.h), 0 at first.
  const std::vector<torch::Tensor>& scales() const { return scales_; }

  // Executor::step with rounded tensors, but outputs as they are before rounding: a loss on
  // truncated mattes would be biased by half a step.
  std::vector<torch::Tensor> step(const torch::Tensor& frame, std::vector<torch::Tensor>& states);
  // Called with each convolution's output before it is rounded.
  std::function<void(ir::TensorId, const torch::Tensor&)> on_output;

  // The integer graph with the present parameters folded in; verified.
  ir::Graph folded() const;

 private:
  struct Convolution {
    std::string name;
    torch::Tensor gain, shift;                    // [O], trained
    torch::Tensor bias, shift_unit, accumulator;  // [O]; accumulator: the scale of the sums
    int input_scale = -1;                         // index into scales_, of the (first) input
  };
  static torch::Tensor bias(const Convolution& convolution);
  torch::Tensor accumulator_scale(const Convolution& convolution) const;
  torch::Tensor rounded_bias(const Convolution& convolution) const;

  const ir::Graph& quantized_;
  Executor executor_;
  std::vector<Convolution> convolutions_;  // in the graph's order
  std::vector<torch::Tensor> scales_;
  std::vector<int> scale_of_;  // per tensor: index into scales_, or -1
};

}  // namespace mattec::quant
