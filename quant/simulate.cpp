#include "quant/simulate.h"

#include <utility>

#include "quant/weights.h"

namespace mattec::quant {
namespace {

torch::Tensor per_channel(const torch::Tensor& values) { return values.reshape({1, -1, 1, 1}); }

Parameters real_parameters(const ir::Graph& quantized) {
  Parameters parameters;
  for (const ir::Op& op : quantized.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const RealWeights real = real_weights(quantized, op);
    const auto outputs = static_cast<int64_t>(real.bias.size());
    const int64_t kernel = op.conv.kernel;
    parameters.of[op.name] = {torch::tensor(real.weight).reshape({outputs, -1, kernel, kernel}),
                              torch::tensor(real.bias)};
  }
  return parameters;
}

}  // namespace

torch::Tensor round_to_grid(const torch::Tensor& value, const ir::Grid& grid,
                            ir::Rounding rounding) {
  const torch::Tensor scale = per_channel(torch::tensor(grid.scale));
  const torch::Tensor zero = per_channel(torch::tensor(grid.zero_point).to(torch::kFloat));
  torch::Tensor q = value / scale;
  // A value that is exactly on the grid must not fall to the step below by float error.
  q = rounding == ir::Rounding::down ? torch::floor(q + 1e-4) : torch::round(q);
  q = torch::clamp(q + zero, grid.lowest(), grid.highest());
  return (q - zero) * scale;
}

Executor simulator(const ir::Graph& quantized) {
  Executor executor(quantized, real_parameters(quantized));
  std::vector<ir::Rounding> rounding(quantized.tensors.size(), ir::Rounding::nearest_even);
  std::vector<bool> view(quantized.tensors.size(), false);
  for (const ir::Op& op : quantized.ops) {
    rounding[static_cast<size_t>(op.output)] = op.rounding;
    view[static_cast<size_t>(op.output)] = op.kind == ir::OpKind::slice;
  }
  executor.hooks.on_store = [&quantized, rounding, view](ir::TensorId id,
                                                         const torch::Tensor& value) {
    const auto index = static_cast<size_t>(id);
    if (view[index]) return value;
    return round_to_grid(value, *quantized.tensors[index].grid, rounding[index]);
  };
  return executor;
}

}  // namespace mattec::quant
