#include "quant/adjust.h"

#include <algorithm>
#include <cmath>

#include "quant/copies.h"
#include "quant/grids.h"

namespace mattec::quant {
namespace {

size_t at(ir::TensorId id) { return static_cast<size_t>(id); }

// Whether every reader of a tensor turns a factor on its scale into one on its own multipliers. One
// with a border value does not: the value would leave the grid.
bool is_absorbed(const ir::Graph& graph, ir::TensorId id) {
  const std::vector<int> readers = graph.consumers(id);
  return std::all_of(readers.begin(), readers.end(), [&](int reader) {
    const ir::Op& op = graph.ops[static_cast<size_t>(reader)];
    const bool is_residual = op.kind == ir::OpKind::conv && op.residual() == id;
    const bool is_alone = op.segment_count() == 1 && op.conv.pad_value.empty();
    return op.kind != ir::OpKind::conv || is_alone || is_residual;
  });
}

// Integers of a bias that a convolution's 32-bit sums have room for: what its products leave.
double bias_limit(const ir::Graph& graph, const ir::Op& op, size_t filter) {
  const ir::Convolution& conv = op.conv;
  const size_t row = conv.quantized_weight.size() / conv.quantized_bias.size();
  const size_t taps = static_cast<size_t>(conv.kernel) * conv.kernel;
  double reach = 0;
  size_t i = filter * row;
  for (int j = 0; j < op.segment_count(); ++j) {
    const ir::Tensor& input = graph.tensor(op.inputs[static_cast<size_t>(j)]);
    const size_t count = conv.depthwise ? taps : taps * static_cast<size_t>(input.channels);
    for (size_t k = 0; k < count; ++k, ++i)
      reach += std::ldexp(std::abs(double(conv.quantized_weight[i])) * input.grid->highest(),
                          conv.segment_shift[static_cast<size_t>(j)]);
  }
  return std::max(0.0, 2147483647.0 - 2 * reach);
}

}  // namespace

MovableScales movable_scales(const ir::Graph& quantized) {
  const std::vector<GridRule> rules = grid_rules(quantized);
  std::vector<ir::TensorId> root(rules.size());
  std::vector<bool> moves(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) {
    root[i] = static_cast<ir::TensorId>(i);
    moves[i] = rules[i] == GridRule::per_tensor || rules[i] == GridRule::per_channel;
  }
  for (const ir::Op& op : quantized.ops)
    if (keeps_grid(op.kind)) root[at(op.output)] = root[at(op.inputs[0])];
  for (size_t i = 0; i < rules.size(); ++i)
    if (!is_absorbed(quantized, static_cast<ir::TensorId>(i))) moves[at(root[i])] = false;
  MovableScales movable;
  movable.of.assign(rules.size(), -1);
  for (size_t i = 0; i < rules.size(); ++i)
    if (moves[i] && root[i] == static_cast<ir::TensorId>(i)) movable.of[i] = movable.count++;
  for (size_t i = 0; i < rules.size(); ++i) movable.of[i] = movable.of[at(root[i])];
  return movable;
}

std::vector<float> shift_units(const ir::Graph& graph, const ir::Op& op) {
  const ir::Grid& grid = *graph.tensor(op.output).grid;
  std::vector<float> units;
  for (int o = 0; o < op.conv.output_channels; ++o) {
    const float range = grid.scale_of(o) * static_cast<float>(grid.highest() - grid.lowest());
    const float step = std::fabs(op.conv.accumulator_scale[static_cast<size_t>(o)]);
    units.push_back(std::min(range / 8, step * 0x1p24F));
  }
  return units;
}

bool has_room_for_bias(const ir::Graph& graph, const ir::Op& op, size_t filter) {
  return bias_limit(graph, op, filter) > 0;
}

void set_bias(const ir::Graph& graph, ir::Op& op, size_t filter, double real) {
  const double limit = bias_limit(graph, op, filter);
  const double steps = real / op.conv.accumulator_scale[filter];
  op.conv.quantized_bias[filter] =
      static_cast<int32_t>(std::clamp(std::nearbyint(steps), -limit, limit));
}

}  // namespace mattec::quant
