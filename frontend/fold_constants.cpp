#include <cmath>
#include <optional>

#include "frontend/passes.h"

namespace mattec::frontend {
namespace {

using ir::Op;
using ir::OpKind;

// y[c] = factor[c] * x[c] + offset[c]
struct Affine {
  std::vector<double> factor, offset;

  double factor_of(size_t c) const { return factor[factor.size() > 1 ? c : 0]; }
  double offset_of(size_t c) const { return offset[offset.size() > 1 ? c : 0]; }
};

std::optional<Affine> affine_of(const Op& op) {
  Affine affine;
  if (op.kind == OpKind::scale_shift) {
    affine.factor.assign(op.factor.begin(), op.factor.end());
    affine.offset.assign(op.offset.begin(), op.offset.end());
    return affine;
  }
  if (op.kind != OpKind::batch_norm) return std::nullopt;
  for (size_t c = 0; c < op.gamma.size(); ++c) {
    const double factor = op.gamma[c] / std::sqrt(double(op.variance[c]) + op.epsilon);
    affine.factor.push_back(factor);
    affine.offset.push_back(op.beta[c] - op.mean[c] * factor);
  }
  return affine;
}

void fold_into_convolution(const Affine& affine, ir::Convolution& conv) {
  const size_t outputs = conv.bias.size();
  const size_t taps = conv.weight.size() / outputs;
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t t = 0; t < taps; ++t)
      conv.weight[o * taps + t] =
          static_cast<float>(conv.weight[o * taps + t] * affine.factor_of(o));
    conv.bias[o] = static_cast<float>(conv.bias[o] * affine.factor_of(o) + affine.offset_of(o));
  }
}

void set_affine(const Affine& affine, int channels, Op& op) {
  op.kind = OpKind::scale_shift;
  op.factor.assign(affine.factor.begin(), affine.factor.end());
  op.offset.assign(affine.offset.begin(), affine.offset.end());
  // One entry or one per channel, the same for both.
  const size_t entries =
      op.factor.size() == 1 && op.offset.size() == 1 ? 1 : static_cast<size_t>(channels);
  if (op.factor.size() != entries) op.factor.assign(entries, op.factor[0]);
  if (op.offset.size() != entries) op.offset.assign(entries, op.offset[0]);
  op.mean.clear();
  op.variance.clear();
  op.gamma.clear();
  op.beta.clear();
  op.epsilon = 0;
}

Affine compose(const Affine& first, const Affine& second, size_t entries) {
  Affine both;
  for (size_t c = 0; c < entries; ++c) {
    both.factor.push_back(first.factor_of(c) * second.factor_of(c));
    both.offset.push_back(first.offset_of(c) * second.factor_of(c) + second.offset_of(c));
  }
  return both;
}

}  // namespace

void fold_constants(ir::Graph& graph) {
  // reads[t]: how often tensor t is read; outputs and states count as readers.
  std::vector<int> reads(graph.tensors.size(), 0);
  std::vector<int> producer(graph.tensors.size(), -1);
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    for (ir::TensorId input : graph.ops[i].inputs) ++reads[static_cast<size_t>(input)];
    producer[static_cast<size_t>(graph.ops[i].output)] = static_cast<int>(i);
  }
  for (const ir::State& state : graph.states) ++reads[static_cast<size_t>(state.output)];
  for (const ir::Output& output : graph.outputs) ++reads[static_cast<size_t>(output.tensor)];

  std::vector<bool> folded(graph.ops.size(), false);
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    Op& op = graph.ops[i];
    const std::optional<Affine> affine = affine_of(op);
    if (!affine) continue;
    const auto input = static_cast<size_t>(op.inputs[0]);
    const int channels = graph.tensor(op.output).channels;
    Op* before = producer[input] >= 0 ? &graph.ops[static_cast<size_t>(producer[input])] : nullptr;
    const bool sole = before && reads[input] == 1;
    const std::optional<Affine> first = sole ? affine_of(*before) : std::nullopt;
    if (sole && before->kind == OpKind::conv && before->activation == ir::Activation::none &&
        !before->conv.has_residual) {
      fold_into_convolution(*affine, before->conv);
    } else if (first) {
      const bool single = first->factor.size() == 1 && first->offset.size() == 1 &&
                          affine->factor.size() == 1 && affine->offset.size() == 1;
      set_affine(compose(*first, *affine, single ? 1 : static_cast<size_t>(channels)), channels,
                 *before);
    } else {
      set_affine(*affine, channels, op);
      continue;
    }
    // The operation before takes over this one's output.
    folded[i] = true;
    before->output = op.output;
    producer[static_cast<size_t>(op.output)] = producer[input];
  }
  std::vector<Op> kept;
  for (size_t i = 0; i < graph.ops.size(); ++i)
    if (!folded[i]) kept.push_back(std::move(graph.ops[i]));
  graph.ops = std::move(kept);
}

}  // namespace mattec::frontend
