#include "quant/soft_weights.h"

#include <torch/utils.h>

#include <algorithm>

#include "quant/weights.h"

namespace mattec::quant {
namespace {

using torch::Tensor;

// The rectified sigmoid reaches 0 and 1.
constexpr double reach = 1.1 + 0.1, below = -0.1;
// How far h is from rounding at first: a tenth, and up to a fifth more where the integer is half a
// step or more from the float weight. So close to what was there, a few hundred steps move those
// integers only that the error asks for.
constexpr double nearest = 0.1, lean = 0.2;

// Real value of one integer step of each weight, [O][I][k][k].
Tensor steps(const ir::Graph& graph, const ir::Op& op) {
  ir::Op ones = op;
  std::fill(ones.conv.quantized_weight.begin(), ones.conv.quantized_weight.end(), int8_t{1});
  return torch::tensor(real_weights(graph, ones).weight);
}

}  // namespace

SoftWeights::SoftWeights(const ir::Graph& graph, const ir::Op& op,
                         const std::vector<float>& weight) {
  const torch::NoGradGuard no_gradients;
  highest_ = (1 << (op.conv.weight_bits - 1)) - 1;
  lowest_ = op.conv.weight_bits == 8 ? -highest_ : -highest_ - 1;
  const std::vector<int64_t> shape = {op.conv.output_channels, -1, op.conv.kernel, op.conv.kernel};
  const auto shaped = [&shape](const Tensor& flat) {
    return flat.reshape(shape).contiguous(torch::MemoryFormat::ChannelsLast);
  };
  const std::vector<float> integer(op.conv.quantized_weight.begin(),
                                   op.conv.quantized_weight.end());
  const Tensor present = shaped(torch::tensor(integer));
  step_ = shaped(steps(graph, op));
  const Tensor lacking = shaped(torch::tensor(weight)) / step_ - present;
  const Tensor distance = nearest + lean * (2 * lacking.abs()).clamp_max(1);
  base_ = torch::where(lacking < 0, present - 1, present);
  const Tensor share = torch::where(lacking < 0, 1 - distance, distance);
  rounding_ = torch::logit((share - below) / reach).requires_grad_(true);
}

Tensor SoftWeights::share() const {
  return (torch::sigmoid(rounding_) * reach + below).clamp(0, 1);
}

Tensor SoftWeights::soft() const { return (base_ + share()).clamp(lowest_, highest_) * step_; }

Tensor SoftWeights::hard() const {
  return (base_ + torch::round(share())).clamp(lowest_, highest_) * step_;
}

std::vector<int8_t> SoftWeights::integers() const {
  const torch::NoGradGuard no_gradients;
  const Tensor integer = (base_ + torch::round(share())).clamp(lowest_, highest_);
  const Tensor flat =
      integer.contiguous(torch::MemoryFormat::Contiguous).to(torch::kChar).flatten();
  return {flat.data_ptr<int8_t>(), flat.data_ptr<int8_t>() + flat.numel()};
}

Tensor SoftWeights::indecision(double beta) const {
  return (1 - (2 * share() - 1).abs().pow(beta)).sum();
}

}  // namespace mattec::quant
