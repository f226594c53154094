#include "quant/trainable.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "ir/verify.h"
#include "quant/adjust.h"
#include "quant/rounding.h"
#include "quant/simulate.h"

namespace mattec::quant {
namespace {

size_t at(ir::TensorId id) { return static_cast<size_t>(id); }

}  // namespace

TrainableNetwork::TrainableNetwork(const ir::Graph& quantized, Abort abort)
    : quantized_(quantized), executor_(quantized, real_parameters(quantized)) {
  executor_.abort = std::move(abort);
  const MovableScales movable = movable_scales(quantized);
  scale_of_ = movable.of;
  for (int i = 0; i < movable.count; ++i) scales_.push_back(torch::zeros({}).requires_grad_(true));
  for (const ir::Op& op : quantized.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const auto zeros = [&op] {
      return torch::zeros({op.conv.output_channels}).requires_grad_(true);
    };
    convolutions_.push_back({op.name, zeros(), zeros(), executor_.parameters.of.at(op.name).bias,
                             torch::tensor(shift_units(quantized, op)),
                             torch::tensor(op.conv.accumulator_scale),
                             scale_of_[at(op.inputs[0])]});
  }
  std::vector<bool> is_conv(quantized.tensors.size(), false);
  for (const ir::Op& op : quantized.ops) is_conv[at(op.output)] = op.kind == ir::OpKind::conv;
  executor_.hooks.on_store = [this, rounding = trained_roundings(quantized), is_conv](
                                 ir::TensorId id, const torch::Tensor& value) {
    if (on_output && is_conv[at(id)]) on_output(id, value);
    const int scale = scale_of_[at(id)];
    return round_through(
        value, *quantized_.tensor(id).grid, rounding[at(id)],
        scale < 0 ? torch::Tensor() : torch::exp(scales_[static_cast<size_t>(scale)]));
  };
}

std::vector<torch::Tensor> TrainableNetwork::affine() const {
  std::vector<torch::Tensor> all;
  for (const Convolution& convolution : convolutions_) all.push_back(convolution.gain);
  for (const Convolution& convolution : convolutions_) all.push_back(convolution.shift);
  return all;
}

torch::Tensor TrainableNetwork::bias(const Convolution& convolution) {
  return convolution.bias + convolution.shift * convolution.shift_unit;
}

torch::Tensor TrainableNetwork::accumulator_scale(const Convolution& convolution) const {
  const torch::Tensor scale = convolution.accumulator * torch::exp(convolution.gain);
  const int input = convolution.input_scale;
  return input < 0 ? scale : scale * torch::exp(scales_[static_cast<size_t>(input)]);
}

// As the integers hold it: at 4 bits a step of the sums may be most of an output's.
torch::Tensor TrainableNetwork::rounded_bias(const Convolution& convolution) const {
  const torch::Tensor real = bias(convolution);
  const torch::Tensor scale = accumulator_scale(convolution).detach();
  const torch::Tensor rounded = torch::round(real.detach() / scale) * scale;
  return real + (rounded - real.detach());
}

std::vector<torch::Tensor> TrainableNetwork::step(const torch::Tensor& frame,
                                                  std::vector<torch::Tensor>& states) {
  for (const Convolution& convolution : convolutions_) {
    Parameters::Entry& entry = executor_.parameters.of.at(convolution.name);
    entry.gain = torch::exp(convolution.gain);
    entry.bias = rounded_bias(convolution);
  }
  return executor_.step(frame, states);
}

ir::Graph TrainableNetwork::folded() const {
  const torch::NoGradGuard no_gradients;
  ir::Graph graph = quantized_;
  for (size_t i = 0; i < graph.tensors.size(); ++i)
    if (scale_of_[i] >= 0) {
      const double factor = std::exp(scales_[static_cast<size_t>(scale_of_[i])].item<double>());
      for (float& scale : graph.tensors[i].grid->scale) scale = static_cast<float>(scale * factor);
    }
  size_t next = 0;
  for (ir::Op& op : graph.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const Convolution& convolution = convolutions_[next++];
    const torch::Tensor scale = accumulator_scale(convolution), real = bias(convolution);
    for (int o = 0; o < op.conv.output_channels; ++o) {
      const auto filter = static_cast<size_t>(o);
      op.conv.accumulator_scale[filter] = scale[o].item<float>();
      set_bias(graph, op, filter, real[o].item<double>());
    }
  }
  ir::verify(graph, "trained " + graph.name);
  return graph;
}

}  // namespace mattec::quant
