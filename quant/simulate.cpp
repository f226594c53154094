#include "quant/simulate.h"

#include <torch/utils.h>

#include <vector>

#include "quant/rounding.h"
#include "quant/weights.h"

namespace mattec::quant {
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

ir::Graph with_float_borders(const ir::Graph& quantized, const ir::Graph& fused) {
  ir::Graph graph = quantized;
  for (const ir::Op& from : fused.ops)
    for (ir::Op& op : graph.ops)
      if (op.name == from.name) op.conv.pad_value = from.conv.pad_value;
  return graph;
}

torch::Tensor round_to_grid(const torch::Tensor& value, const ir::Grid& grid) {
  const torch::NoGradGuard no_gradients;
  return round_through(value, grid, GridRounding::nearest_even);
}

Executor simulator(const ir::Graph& quantized) {
  Executor executor(quantized, real_parameters(quantized));
  executor.hooks.on_store = [&quantized, rounding = grid_roundings(quantized)](
                                ir::TensorId id, const torch::Tensor& value) {
    const auto index = static_cast<size_t>(id);
    return round_through(value, *quantized.tensors[index].grid, rounding[index]);
  };
  return executor;
}

}  // namespace mattec::quant
