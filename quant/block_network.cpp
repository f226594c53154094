#include "quant/block_network.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "ir/verify.h"
#include "quant/simulate.h"
#include "quant/weights.h"

namespace mattec::quant {
namespace {

using torch::Tensor;

size_t at(int index) { return static_cast<size_t>(index); }

const ir::Op& named(const ir::Graph& graph, const std::string& name) {
  return *std::find_if(graph.ops.begin(), graph.ops.end(),
                       [&name](const ir::Op& op) { return op.name == name; });
}

Tensor factor_of(const Tensor& log_factor) {
  return log_factor.defined() ? torch::exp(log_factor) : Tensor();
}

}  // namespace

void run_block(const ir::Graph& graph, const Block& block, const Executor& executor,
               Values& values) {
  for (const int i : block.ops) executor.execute(graph.ops[at(i)], values);
}

Executor block_simulator(const ir::Graph& quantized, Abort abort) {
  Executor executor(quantized, real_parameters(quantized));
  executor.abort = std::move(abort);
  executor.hooks.on_store = [&quantized, rounding = trained_roundings(quantized)](
                                ir::TensorId id, const Tensor& value) {
    return round_through(value, *quantized.tensor(id).grid, rounding[at(id)]);
  };
  return executor;
}

BlockNetwork::BlockNetwork(const ir::Graph& quantized, const ir::Graph& fused, const Block& block,
                           uint64_t seed, Abort abort)
    : quantized_(quantized),
      block_(block),
      executor_(quantized, Parameters{}),
      rounding_(trained_roundings(quantized)),
      movable_(movable_scales(quantized)),
      generator_(at::detail::createCPUGenerator(seed)) {
  executor_.abort = std::move(abort);
  find_scales();
  for (const int i : block.ops) {
    const ir::Op& op = quantized.ops[at(i)];
    if (op.kind == ir::OpKind::conv) add_convolution(at(i), named(fused, op.name).conv.weight);
  }
  executor_.hooks.on_store = [this](ir::TensorId id, const Tensor& value) {
    return stored(id, value);
  };
}

void BlockNetwork::find_scales() {
  scale_of_.assign(at(movable_.count), -1);
  for (const int i : block_.ops) {
    const ir::Op& op = quantized_.ops[at(i)];
    const int movable = movable_.of[at(op.output)];
    const bool is_inherited =
        !op.inputs.empty() && movable >= 0 && movable_.of[at(op.inputs[0])] == movable;
    if (movable < 0 || is_inherited) continue;
    scale_of_[at(movable)] = static_cast<int>(scales_.size());
    scales_.push_back(torch::zeros({}).requires_grad_(true));
  }
}

void BlockNetwork::add_convolution(size_t index, const std::vector<float>& weight) {
  const ir::Op& op = quantized_.ops[index];
  std::vector<float> bias;
  bias.reserve(at(op.conv.output_channels));
  for (int o = 0; o < op.conv.output_channels; ++o)
    bias.push_back(static_cast<float>(op.conv.quantized_bias[at(o)]) *
                   op.conv.accumulator_scale[at(o)]);
  const int movable = movable_.of[at(op.inputs[0])];
  const int scale = movable < 0 ? -1 : scale_of_[at(movable)];
  convolutions_.push_back({index, SoftWeights(quantized_, op, weight), torch::tensor(bias),
                           torch::zeros({op.conv.output_channels}).requires_grad_(true),
                           torch::tensor(shift_units(quantized_, op)),
                           torch::tensor(op.conv.accumulator_scale),
                           scale < 0 ? Tensor() : scales_[at(scale)]});
}

std::vector<Tensor> BlockNetwork::roundings() const {
  std::vector<Tensor> all;
  for (const Convolution& convolution : convolutions_)
    all.push_back(convolution.weights.rounding());
  return all;
}

std::vector<Tensor> BlockNetwork::biases() const {
  std::vector<Tensor> all;
  for (const Convolution& convolution : convolutions_) all.push_back(convolution.shift);
  return all;
}

std::vector<Tensor> BlockNetwork::indecision(double beta) const {
  std::vector<Tensor> all;
  for (const Convolution& convolution : convolutions_)
    all.push_back(convolution.weights.indecision(beta));
  return all;
}

Tensor BlockNetwork::stored(ir::TensorId id, const Tensor& value) const {
  const GridRounding rounding = rounding_[at(id)];
  if (rounding == GridRounding::none || dropped_ >= 1) return value;
  const int movable = movable_.of[at(id)];
  const int scale = movable < 0 ? -1 : scale_of_[at(movable)];
  Tensor rounded = round_through(value, *quantized_.tensor(id).grid, rounding,
                                 scale < 0 ? Tensor() : factor_of(scales_[at(scale)]));
  if (dropped_ <= 0) return rounded;
  const Tensor kept = torch::rand(value.sizes(), generator_) >= dropped_;
  return torch::where(kept, rounded, value);
}

Tensor BlockNetwork::bias(const Convolution& convolution) {
  return convolution.bias + convolution.shift * convolution.shift_unit;
}

// As the integers hold it: at 4 bits a step of the sums may be most of an output's.
Tensor BlockNetwork::rounded_bias(const Convolution& convolution) {
  const Tensor real = bias(convolution);
  Tensor scale = convolution.accumulator;
  if (convolution.log_factor.defined()) scale = scale * factor_of(convolution.log_factor).detach();
  const Tensor rounded = torch::round(real.detach() / scale) * scale;
  return real + (rounded - real.detach());
}

void BlockNetwork::prepare(Weights weights, double dropped) {
  dropped_ = dropped;
  for (const Convolution& convolution : convolutions_)
    executor_.parameters.of[quantized_.ops[convolution.op].name] = {
        weights == Weights::soft ? convolution.weights.soft() : convolution.weights.hard().detach(),
        rounded_bias(convolution)};
}

// A filter whose sums would leave 32 bits keeps its integers.
void BlockNetwork::fold_weights(ir::Graph& graph, const Convolution& convolution) const {
  ir::Op& op = graph.ops[convolution.op];
  const std::vector<int8_t> before = op.conv.quantized_weight;
  op.conv.quantized_weight = convolution.weights.integers();
  const auto filters = at(op.conv.output_channels);
  const size_t row = before.size() / filters;
  for (size_t o = 0; o < filters; ++o)
    if (!has_room_for_bias(graph, op, o))
      std::copy_n(before.begin() + static_cast<long>(o * row), row,
                  op.conv.quantized_weight.begin() + static_cast<long>(o * row));
}

ir::Graph BlockNetwork::folded() const {
  const torch::NoGradGuard no_gradients;
  ir::Graph graph = quantized_;
  const auto factor = [this](ir::TensorId id) {
    const int movable = movable_.of[at(id)];
    const int scale = movable < 0 ? -1 : scale_of_[at(movable)];
    return scale < 0 ? 1.0 : std::exp(scales_[at(scale)].item<double>());
  };
  for (size_t i = 0; i < graph.tensors.size(); ++i)
    for (float& scale : graph.tensors[i].grid->scale)
      scale = static_cast<float>(scale * factor(static_cast<ir::TensorId>(i)));
  for (const Convolution& convolution : convolutions_) fold_weights(graph, convolution);
  size_t next = 0;
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    ir::Op& op = graph.ops[i];
    if (op.kind != ir::OpKind::conv) continue;
    const bool is_own = next < convolutions_.size() && convolutions_[next].op == i;
    const double by = factor(op.inputs[0]);
    Tensor real;
    if (is_own) real = bias(convolutions_[next++]);
    if (!is_own && by == 1) continue;
    for (size_t o = 0; o < op.conv.quantized_bias.size(); ++o) {
      const double present =
          static_cast<double>(op.conv.quantized_bias[o]) * op.conv.accumulator_scale[o];
      op.conv.accumulator_scale[o] = static_cast<float>(op.conv.accumulator_scale[o] * by);
      set_bias(graph, op, o, is_own ? real[static_cast<int64_t>(o)].item<double>() : present);
    }
  }
  ir::verify(graph, "reconstructed " + graph.name);
  return graph;
}

}  // namespace mattec::quant
