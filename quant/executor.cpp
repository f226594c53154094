#include "quant/executor.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "ir/sizes.h"
#include "quant/channels.h"

namespace mattec::quant {
namespace {

using ir::Activation;
using ir::Op;
using ir::OpKind;
using torch::Tensor;

Tensor to_tensor(const std::vector<float>& values, const std::vector<int64_t>& shape) {
  return torch::tensor(values).reshape(shape);
}

// One value per channel, or one for all, shaped for broadcasting over [N,C,H,W].
Tensor per_channel(const std::vector<float>& values) { return to_tensor(values, {1, -1, 1, 1}); }

Tensor activate(Activation activation, const Tensor& x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return torch::relu(x);
    case Activation::clamp01:
      return torch::clamp(x, 0, 1);
    case Activation::hardswish:
      return torch::hardswish(x);
    case Activation::hardsigmoid:
      return torch::hardsigmoid(x);
    case Activation::sigmoid:
      return torch::sigmoid(x);
    case Activation::tanh:
      return torch::tanh(x);
  }
  throw Error("unknown activation");
}

// x within a border of `padding` pixels that holds `value` of each channel.
Tensor pad_with(const std::vector<float>& value, int64_t padding, const Tensor& x) {
  const int64_t height = x.size(2), width = x.size(3);
  Tensor padded = per_channel(value)
                      .to(x.dtype())
                      .expand({x.size(0), x.size(1), height + 2 * padding, width + 2 * padding})
                      .contiguous(x.suggest_memory_format());
  padded.narrow(2, padding, height).narrow(3, padding, width).copy_(x);
  return padded;
}

Tensor convolve(const Op& op, Tensor x, const Parameters::Entry& parameters) {
  int64_t padding = op.conv.padding;
  if (padding > 0 && !op.conv.pad_value.empty()) {
    x = pad_with(op.conv.pad_value, padding, x);
    padding = 0;
  }
  const int64_t groups = op.conv.depthwise ? x.size(1) : 1;
  if (!parameters.gain.defined())
    return torch::conv2d(x, parameters.weight, parameters.bias, op.conv.stride, padding,
                         op.conv.dilation, groups);
  const Tensor products =
      torch::conv2d(x, parameters.weight, {}, op.conv.stride, padding, op.conv.dilation, groups);
  return torch::addcmul(parameters.bias.reshape({1, -1, 1, 1}), products,
                        parameters.gain.reshape({1, -1, 1, 1}));
}

// Bilinear with half-pixel centres, without antialiasing.
Tensor resize(const Tensor& x, int64_t height, int64_t width) {
  return at::upsample_bilinear2d(x, {height, width}, /*align_corners=*/false);
}

Tensor crop(const Tensor& x, const Tensor& like) {
  if (x.size(2) == like.size(2) && x.size(3) == like.size(3)) return x;
  return x.narrow(2, 0, like.size(2)).narrow(3, 0, like.size(3));
}

Tensor downsample(const Tensor& x, double ratio) {
  if (ratio == 1.0) return x;
  // The factor, not the rounded size, sets the sampling positions, as in interpolate().
  const std::vector<double> factors = {ratio, ratio};
  return at::upsample_bilinear2d(x, c10::nullopt, /*align_corners=*/false, factors);
}

Tensor scale_shift(const Op& op, const Tensor& x) {
  return x * per_channel(op.factor) + per_channel(op.offset);
}

Tensor batch_norm(const Op& op, const Tensor& x) {
  const auto vector = [&](const std::vector<float>& values) {
    return torch::tensor(values).to(x.dtype());
  };
  return torch::batch_norm(x, vector(op.gamma), vector(op.beta), vector(op.mean),
                           vector(op.variance), /*training=*/false, /*momentum=*/0, op.epsilon,
                           /*cudnn_enabled=*/false);
}

// Every operation but the convolution. `channels` = the output's.
Tensor apply(const Op& op, const std::vector<Tensor>& in, int channels, double ratio) {
  switch (op.kind) {
    case OpKind::avg_pool2:
      return torch::avg_pool2d(in[0], 2, 2, 0, /*ceil_mode=*/true, /*count_include_pad=*/false);
    case OpKind::global_avg_pool:
      return in[0].mean({2, 3}, /*keepdim=*/true);
    case OpKind::upsample2:
      return crop(resize(in[0], 2 * in[0].size(2), 2 * in[0].size(3)), in[1]);
    case OpKind::slice: {
      std::vector<int64_t> taken(static_cast<size_t>(channels));
      std::iota(taken.begin(), taken.end(), op.first_channel);
      return take_channels(in[0], taken);
    }
    case OpKind::mul:
      return in[0] * in[1];
    case OpKind::blend:
      return in[1] + in[0] * (in[2] - in[1]);
    case OpKind::requantize:
      if (op.channels.empty()) return in[0];
      return take_channels(in[0], {op.channels.begin(), op.channels.end()});
    case OpKind::batch_norm:
      return batch_norm(op, in[0]);
    case OpKind::scale_shift:
      return scale_shift(op, in[0]);
    case OpKind::activation:
      return activate(op.activation, in[0]);
    case OpKind::add:
      return in[0] + in[1];
    case OpKind::sub:
      return in[0] - in[1];
    case OpKind::concat:
      return join_channels(in);
    case OpKind::downsample:
      return downsample(in[0], ratio);
    case OpKind::resize_to:
      return resize(in[0], in[1].size(2), in[1].size(3));
    case OpKind::channel_mean:
      return in[0].mean({1}, /*keepdim=*/true);
    case OpKind::conv:
      break;
  }
  throw Error("operation '" + op.name + "' has no float execution");
}

// That of the weights, for states: all that comes of a state has its layout, and would be copied
// into the other before every convolution (a tenth of calibration's time).
torch::MemoryFormat layout_of(const Parameters& parameters) {
  for (const auto& [name, entry] : parameters.of)
    if (!entry.weight.is_contiguous() &&
        entry.weight.is_contiguous(torch::MemoryFormat::ChannelsLast))
      return torch::MemoryFormat::ChannelsLast;
  return torch::MemoryFormat::Contiguous;
}

// Index of the last operation that reads each tensor; outputs and states are never released.
std::vector<size_t> last_readers(const ir::Graph& graph) {
  std::vector<size_t> last(graph.tensors.size(), graph.ops.size());
  for (size_t i = 0; i < graph.ops.size(); ++i)
    for (ir::TensorId input : graph.ops[i].inputs) last[static_cast<size_t>(input)] = i;
  for (const ir::State& state : graph.states)
    last[static_cast<size_t>(state.output)] = graph.ops.size();
  for (const ir::Output& output : graph.outputs)
    last[static_cast<size_t>(output.tensor)] = graph.ops.size();
  return last;
}

}  // namespace

Parameters parameters_of(const ir::Graph& graph) {
  Parameters parameters;
  for (const Op& op : graph.ops) {
    if (op.kind != OpKind::conv) continue;
    const ir::Convolution& conv = op.conv;
    const int64_t outputs = conv.output_channels, kernel = conv.kernel;
    if (conv.weight.empty())
      throw Error("operation '" + op.name + "' of network '" + graph.name +
                  "' has no float weights; the executor runs imported and fused graphs");
    parameters.of[op.name] = {to_tensor(conv.weight, {outputs, -1, kernel, kernel}),
                              to_tensor(conv.bias, {outputs})};
  }
  return parameters;
}

Executor::Executor(const ir::Graph& graph) : Executor(graph, parameters_of(graph)) {}

Executor::Executor(const ir::Graph& graph, Parameters initial)
    : parameters(std::move(initial)), graph_(graph) {
  for (const ir::Output& output : graph.outputs)
    if (output.variant != ir::Variant::both)
      throw Error("network '" + graph.name + "' holds two variants; extract one to run it");
}

void Executor::execute(const Op& op, std::vector<Tensor>& values, double downsample_ratio) const {
  throw_if(abort);
  std::vector<Tensor> inputs;
  for (ir::TensorId input : op.inputs) inputs.push_back(values[static_cast<size_t>(input)]);
  Tensor result;
  if (op.kind == OpKind::conv) {
    Tensor residual;
    if (op.conv.has_residual) {
      residual = inputs.back();
      inputs.pop_back();
    }
    const Tensor x = inputs.size() == 1 ? inputs[0] : join_channels(inputs);
    if (hooks.on_convolution) hooks.on_convolution(op, x);
    Tensor y = convolve(op, x, parameters.of.at(op.name));
    if (residual.defined()) y = y + residual;
    if (hooks.on_sum) hooks.on_sum(op, y);
    result = activate(op.activation, y);
  } else {
    result = apply(op, inputs, graph_.tensor(op.output).channels, downsample_ratio);
  }
  if (abort && result.requires_grad())
    result.register_hook([ask = abort](const Tensor&) { throw_if(ask); });
  values[static_cast<size_t>(op.output)] =
      hooks.on_store ? hooks.on_store(op.output, result) : result;
}

std::vector<Tensor> Executor::step(const Tensor& frame, std::vector<Tensor>& states,
                                   double downsample_ratio) {
  if (frame.dim() != 4 || frame.size(1) != 3)
    throw Error("network '" + graph_.name + "' reads frames of shape [N, 3, H, W]");
  states.resize(graph_.states.size());
  std::vector<Tensor> values(graph_.tensors.size());
  const auto store = [&](ir::TensorId id, const Tensor& value) {
    values[static_cast<size_t>(id)] = hooks.on_store ? hooks.on_store(id, value) : value;
  };
  store(graph_.frame, frame);
  const std::vector<ir::Size> sizes = ir::infer_sizes(
      graph_, {static_cast<int>(frame.size(2)), static_cast<int>(frame.size(3))}, downsample_ratio);
  for (size_t i = 0; i < states.size(); ++i) {
    const ir::TensorId id = graph_.states[i].input;
    const ir::Size size = sizes[static_cast<size_t>(id)];
    if (!states[i].defined())
      states[i] = torch::empty({frame.size(0), graph_.tensor(id).channels, size.height, size.width},
                               frame.options().memory_format(layout_of(parameters)))
                      .zero_();
    store(id, states[i]);
  }
  const std::vector<size_t> last = last_readers(graph_);
  for (size_t i = 0; i < graph_.ops.size(); ++i) {
    const Op& op = graph_.ops[i];
    execute(op, values, downsample_ratio);
    for (ir::TensorId input : op.inputs)
      if (last[static_cast<size_t>(input)] == i) values[static_cast<size_t>(input)] = Tensor();
  }
  for (size_t i = 0; i < states.size(); ++i)
    states[i] = values[static_cast<size_t>(graph_.states[i].output)];
  std::vector<Tensor> outputs;
  for (const ir::Output& output : graph_.outputs)
    outputs.push_back(values[static_cast<size_t>(output.tensor)]);
  return outputs;
}

}  // namespace mattec::quant
