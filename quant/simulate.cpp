#include "quant/simulate.h"

#include <vector>

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
    parameters.of[op.name] = {torch::tensor(real.weight)
                                  .reshape({outputs, -1, kernel, kernel})
                                  .contiguous(torch::MemoryFormat::ChannelsLast),
                              torch::tensor(real.bias)};
  }
  return parameters;
}

// How the integer engine rounds a stored tensor (docs/numerics.md).
enum class Step { none, nearest_even, half_up, down };

Step step_of(const ir::Op& op) {
  if (op.kind == ir::OpKind::slice) return Step::none;  // a view
  if (op.kind == ir::OpKind::avg_pool2 || op.kind == ir::OpKind::upsample2) return Step::half_up;
  return op.rounding == ir::Rounding::down ? Step::down : Step::nearest_even;
}

// [N][C][H][W] rounded to the grid and clamped to its ends, as real values.
torch::Tensor round_to_grid(const torch::Tensor& value, const ir::Grid& grid, Step step) {
  const torch::Tensor scale = per_channel(torch::tensor(grid.scale));
  const torch::Tensor zero = per_channel(torch::tensor(grid.zero_point).to(torch::kFloat));
  torch::Tensor q = value / scale;
  // Ties and exact grid values must not fall to the step below by float error.
  const double tie = 1e-4;
  if (step == Step::down)
    q = torch::floor(q + tie);
  else if (step == Step::half_up)
    q = torch::floor(q + (0.5 + tie));
  else
    q = torch::round(q);
  q = torch::clamp(q + zero, grid.lowest(), grid.highest());
  return (q - zero) * scale;
}

}  // namespace

torch::Tensor round_to_grid(const torch::Tensor& value, const ir::Grid& grid) {
  return round_to_grid(value, grid, Step::nearest_even);
}

Executor simulator(const ir::Graph& quantized) {
  Executor executor(quantized, real_parameters(quantized));
  std::vector<Step> steps(quantized.tensors.size(), Step::nearest_even);
  for (const ir::Op& op : quantized.ops) steps[static_cast<size_t>(op.output)] = step_of(op);
  executor.hooks.on_store = [&quantized, steps](ir::TensorId id, const torch::Tensor& value) {
    const auto index = static_cast<size_t>(id);
    if (steps[index] == Step::none) return value;
    return round_to_grid(value, *quantized.tensors[index].grid, steps[index]);
  };
  return executor;
}

}  // namespace mattec::quant
