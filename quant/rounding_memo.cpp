#include "quant/rounding_memo.h"

#include <algorithm>
#include <utility>

namespace mattec::quant {
namespace {

bool is_same(const torch::Tensor& a, const torch::Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || torch::equal(a, b));
}

bool is_same(const ir::Tensor& a, const ir::Tensor& b) {
  return a.channels == b.channels && a.grid == b.grid;
}

}  // namespace

bool RoundingMemo::is_same(const Call& a, const Call& b) {
  const ir::Convolution &x = a.convolution, &y = b.convolution;
  return x.kernel == y.kernel && x.stride == y.stride && x.padding == y.padding &&
         x.dilation == y.dilation && x.depthwise == y.depthwise &&
         x.output_channels == y.output_channels && x.has_residual == y.has_residual &&
         x.pad_value == y.pad_value && x.weight == y.weight && x.bias == y.bias &&
         std::equal(a.inputs.begin(), a.inputs.end(), b.inputs.begin(), b.inputs.end(),
                    [](const auto& p, const auto& q) { return quant::is_same(p, q); }) &&
         quant::is_same(a.output, b.output) && a.options.bits == b.options.bits &&
         a.options.rounding == b.options.rounding &&
         a.options.least_squares_scale == b.options.least_squares_scale &&
         a.options.bias_correction == b.options.bias_correction &&
         a.options.damping == b.options.damping && a.noise == b.noise &&
         quant::is_same(a.moments.second, b.moments.second) &&
         quant::is_same(a.moments.first, b.moments.first) &&
         quant::is_same(a.moments.sensitivity, b.moments.sensitivity);
}

bool RoundingMemo::quantize(const ir::Graph& graph, ir::Op& op, const Moments& moments,
                            const WeightOptions& options, const std::vector<double>& noise) {
  Call call{op.conv, {}, graph.tensor(op.output), moments, options, noise};
  for (int j = 0; j < op.segment_count(); ++j)
    call.inputs.push_back(graph.tensor(op.inputs[static_cast<size_t>(j)]));
  const Rounded* before = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = rounded_.find(op.name);
    if (found != rounded_.end()) before = &found->second;
  }
  if (before != nullptr && is_same(before->call, call)) {
    op.conv = before->result;
    return true;
  }
  quantize_convolution(graph, op, moments, options, noise);
  const std::lock_guard<std::mutex> lock(mutex_);
  rounded_[op.name] = {std::move(call), op.conv};
  return false;
}

}  // namespace mattec::quant
