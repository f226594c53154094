#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "frontend/fuse.h"
#include "ir/verify.h"

namespace mattec::frontend {
namespace {

using ir::Activation;
using ir::Op;
using ir::OpKind;
using ir::TensorId;

// Trained filters die gradually: their weights decay to 1e-7 of the layer's largest and below (live
// ones stay above 1e-3), which moves no output by more than float rounding does.
constexpr float negligible = 1e-6F;

void clear_dead_filters(ir::Convolution& conv) {
  float largest = 0;
  for (float weight : conv.weight) largest = std::max(largest, std::fabs(weight));
  const size_t row = conv.weight.size() / conv.bias.size();
  for (size_t o = 0; o < conv.bias.size(); ++o) {
    float* weight = &conv.weight[o * row];
    const bool dead = std::all_of(weight, weight + row, [&](float value) {
      return std::fabs(value) <= negligible * largest;
    });
    if (dead) std::fill(weight, weight + row, 0.0F);
  }
}

double activate(Activation activation, double x) {
  const auto clamp = [](double value, double low, double high) {
    return std::min(std::max(value, low), high);
  };
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::clamp01:
      return clamp(x, 0, 1);
    case Activation::hardswish:
      return x * clamp(x + 3, 0, 6) / 6;
    case Activation::hardsigmoid:
      return clamp(x + 3, 0, 6) / 6;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
  }
  return x;
}

// One removal of everything that is removable. All channels of all tensors are numbered through;
// operations that work channel by channel tie their inputs' channels to their output's, so that
// only whole groups of tied channels can go.
class Remover {
 public:
  explicit Remover(ir::Graph& graph) : graph_(graph) {
    size_t total = 0;
    for (const ir::Tensor& tensor : graph.tensors) {
      first_.push_back(total);
      total += static_cast<size_t>(tensor.channels);
    }
    constant_.resize(total);
    group_.resize(total);
    std::iota(group_.begin(), group_.end(), size_t{0});
    keep_.assign(total, false);
  }
  int remove();

 private:
  using Constant = std::optional<double>;

  size_t at(TensorId id, int channel) const {
    return first_[static_cast<size_t>(id)] + static_cast<size_t>(channel);
  }
  int channels(TensorId id) const { return graph_.tensor(id).channels; }
  size_t group_of(size_t channel) {
    while (group_[channel] != channel) channel = group_[channel] = group_[group_[channel]];
    return channel;
  }
  void tie(size_t a, size_t b) { group_[group_of(a)] = group_of(b); }
  void keep_tensor(TensorId id) {
    for (int c = 0; c < channels(id); ++c) keep_[group_of(at(id, c))] = true;
  }

  Constant output_of(const Op& op, int channel) const;
  Constant convolved(const Op& op, int output) const;
  // The constant that a convolution sees in a channel, border included; none if it varies.
  Constant seen(const Op& op, TensorId input, int channel, size_t position) const;
  void tie_channels(const Op& op);
  void keep_what_is_needed();
  void keep_one_of_each_tensor();
  bool removed(size_t channel) { return !keep_[group_of(channel)]; }
  void shrink(Op& op);
  void absorb(Op& op);

  ir::Graph& graph_;
  std::vector<size_t> first_;  // per tensor: number of its first channel
  std::vector<Constant> constant_;
  std::vector<size_t> group_;
  std::vector<bool> keep_;  // per group's root
};

Remover::Constant Remover::seen(const Op& op, TensorId input, int channel, size_t position) const {
  const Constant value = constant_[at(input, channel)];
  if (!value || op.conv.padding == 0) return value;
  const double border = op.conv.pad_value.empty() ? 0 : op.conv.pad_value[position];
  return *value == border ? value : Constant();
}

Remover::Constant Remover::convolved(const Op& op, int output) const {
  const auto taps = static_cast<size_t>(op.conv.kernel) * static_cast<size_t>(op.conv.kernel);
  const size_t row = op.conv.weight.size() / op.conv.bias.size();
  const float* weight = &op.conv.weight[static_cast<size_t>(output) * row];
  double sum = op.conv.bias[static_cast<size_t>(output)];
  size_t position = 0;
  for (int s = 0; s < op.segment_count(); ++s) {
    const TensorId input = op.inputs[static_cast<size_t>(s)];
    for (int c = 0; c < channels(input); ++c, ++position) {
      if (op.conv.depthwise && c != output) continue;
      const Constant value = seen(op, input, c, position);
      for (size_t t = 0; t < taps; ++t, ++weight) {
        if (*weight == 0) continue;
        if (!value) return {};
        sum += *weight * *value;
      }
    }
  }
  if (op.conv.has_residual) {
    const Constant residual = constant_[at(op.residual(), output)];
    if (!residual) return {};
    sum += *residual;
  }
  return activate(op.activation, sum);
}

Remover::Constant Remover::output_of(const Op& op, int channel) const {
  const auto input = [&](size_t i) { return constant_[at(op.inputs[i], channel)]; };
  switch (op.kind) {
    case OpKind::conv:
      return convolved(op, channel);
    case OpKind::avg_pool2:
    case OpKind::global_avg_pool:
    case OpKind::requantize:
    case OpKind::upsample2:
      return input(0);
    case OpKind::slice:
      return constant_[at(op.inputs[0], op.first_channel + channel)];
    case OpKind::mul: {
      const Constant x = input(0), y = input(1);
      if ((x && *x == 0) || (y && *y == 0)) return 0.0;
      return x && y ? Constant(*x * *y) : Constant();
    }
    case OpKind::blend: {
      const Constant z = input(0), h = input(1), c = input(2);
      return z && h && c ? Constant(*h + *z * (*c - *h)) : Constant();
    }
    default:
      return {};
  }
}

void Remover::tie_channels(const Op& op) {
  for (int c = 0; c < channels(op.output); ++c) {
    const size_t output = at(op.output, c);
    if (op.kind == OpKind::conv) {
      if (op.conv.depthwise) tie(output, at(op.inputs[0], c));
      if (op.conv.has_residual) tie(output, at(op.residual(), c));
    } else if (op.kind == OpKind::slice) {
      tie(output, at(op.inputs[0], op.first_channel + c));
    } else {
      // upsample2 takes only the size of its second input.
      const size_t inputs = op.kind == OpKind::upsample2 ? 1 : op.inputs.size();
      for (size_t i = 0; i < inputs; ++i) tie(output, at(op.inputs[i], c));
    }
  }
}

void Remover::keep_what_is_needed() {
  keep_tensor(graph_.frame);
  for (const ir::State& state : graph_.states) {
    keep_tensor(state.input);
    keep_tensor(state.output);
  }
  for (const ir::Output& output : graph_.outputs) keep_tensor(output.tensor);
  for (const Op& op : graph_.ops) {
    if (op.kind != OpKind::conv || op.conv.depthwise) continue;
    size_t position = 0;
    for (int s = 0; s < op.segment_count(); ++s) {
      const TensorId input = op.inputs[static_cast<size_t>(s)];
      for (int c = 0; c < channels(input); ++c, ++position)
        if (!seen(op, input, c, position)) keep_[group_of(at(input, c))] = true;
    }
  }
}

// A tensor without channels would be no tensor.
void Remover::keep_one_of_each_tensor() {
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    const auto id = static_cast<TensorId>(t);
    bool any = false;
    for (int c = 0; c < channels(id); ++c) any = any || !removed(at(id, c));
    if (!any && channels(id) > 0) keep_[group_of(at(id, 0))] = true;
  }
}

// Takes the constants of removed input channels into the bias.
void Remover::absorb(Op& op) {
  const auto taps = static_cast<size_t>(op.conv.kernel) * static_cast<size_t>(op.conv.kernel);
  const size_t outputs = op.conv.bias.size(), inputs = op.conv.weight.size() / (outputs * taps);
  for (size_t o = 0; o < outputs; ++o) {
    double bias = op.conv.bias[o];
    size_t position = 0;
    for (int s = 0; s < op.segment_count(); ++s) {
      const TensorId input = op.inputs[static_cast<size_t>(s)];
      for (int c = 0; c < channels(input); ++c, ++position) {
        if (!removed(at(input, c))) continue;
        for (size_t t = 0; t < taps; ++t)
          bias += op.conv.weight[(o * inputs + position) * taps + t] * *constant_[at(input, c)];
      }
    }
    op.conv.bias[o] = static_cast<float>(bias);
  }
}

void Remover::shrink(Op& op) {
  if (op.kind == OpKind::slice) {
    int before = 0;
    for (int c = 0; c < op.first_channel; ++c) before += removed(at(op.inputs[0], c));
    op.first_channel -= before;
  }
  if (op.kind != OpKind::conv) return;
  if (!op.conv.depthwise) absorb(op);
  std::vector<bool> input_kept;
  for (int s = 0; s < op.segment_count(); ++s) {
    const TensorId input = op.inputs[static_cast<size_t>(s)];
    for (int c = 0; c < channels(input); ++c) input_kept.push_back(!removed(at(input, c)));
  }
  ir::Convolution shrunk = op.conv;
  shrunk.weight.clear();
  shrunk.bias.clear();
  shrunk.pad_value.clear();
  const auto taps = static_cast<size_t>(op.conv.kernel) * static_cast<size_t>(op.conv.kernel);
  const size_t inputs = op.conv.depthwise ? 1 : input_kept.size();
  for (size_t o = 0; o < op.conv.bias.size(); ++o) {
    if (removed(at(op.output, static_cast<int>(o)))) continue;
    shrunk.bias.push_back(op.conv.bias[o]);
    for (size_t i = 0; i < inputs; ++i)
      for (size_t t = 0; t < taps; ++t)
        if (op.conv.depthwise || input_kept[i])
          shrunk.weight.push_back(op.conv.weight[(o * inputs + i) * taps + t]);
  }
  for (size_t i = 0; i < op.conv.pad_value.size(); ++i)
    if (input_kept[i]) shrunk.pad_value.push_back(op.conv.pad_value[i]);
  shrunk.output_channels = static_cast<int>(shrunk.bias.size());
  op.conv = std::move(shrunk);
}

int Remover::remove() {
  for (Op& op : graph_.ops)
    if (op.kind == OpKind::conv) clear_dead_filters(op.conv);
  for (const Op& op : graph_.ops)
    for (int c = 0; c < channels(op.output); ++c) constant_[at(op.output, c)] = output_of(op, c);
  for (const Op& op : graph_.ops) tie_channels(op);
  keep_what_is_needed();
  keep_one_of_each_tensor();
  for (Op& op : graph_.ops) shrink(op);
  int total = 0;
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    int gone = 0;
    for (int c = 0; c < graph_.tensors[t].channels; ++c)
      gone += removed(at(static_cast<TensorId>(t), c));
    graph_.tensors[t].channels -= gone;
    total += gone;
  }
  return total;
}

}  // namespace

int remove_dead_channels(ir::Graph& fused) {
  const int count = Remover(fused).remove();
  ir::verify(fused, fused.name + ", dead channels removed");
  return count;
}

}  // namespace mattec::frontend
