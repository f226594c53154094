#include "quant/grids.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "ir/arithmetic.h"

namespace mattec::quant {
namespace {

using ir::Activation;
using ir::Graph;
using ir::Grid;
using ir::Op;
using ir::OpKind;
using ir::TensorId;

// A grid finer than this says nothing: the tensor is constant 0 in calibration.
constexpr float least_range = 1e-4F;

bool feeds_depthwise(const Graph& graph, TensorId tensor) {
  for (const int index : graph.consumers(tensor)) {
    const Op& op = graph.ops[static_cast<size_t>(index)];
    if (op.kind != OpKind::conv || !op.conv.depthwise) continue;
    const auto end = op.inputs.begin() + op.segment_count();
    if (std::find(op.inputs.begin(), end, tensor) != end) return true;
  }
  return false;
}

bool within_one(GridRule rule) {
  return rule == GridRule::unit || rule == GridRule::symmetric || rule == GridRule::state;
}

GridRule product_rule(GridRule x, GridRule y, GridRule otherwise) {
  if (x == GridRule::unit && y == GridRule::unit) return GridRule::unit;
  return within_one(x) && within_one(y) ? GridRule::symmetric : otherwise;
}

// Rule of an operation's output. Inherited grids count as what they inherit, so `of` holds
// resolved rules; `is_inherited` tells that the output shares its input's grid.
GridRule resolved_rule(const Graph& graph, const Op& op, const std::vector<GridRule>& of) {
  const auto rule = [&](size_t input) { return of[static_cast<size_t>(op.inputs[input])]; };
  const GridRule calibrated =
      feeds_depthwise(graph, op.output) ? GridRule::per_channel : GridRule::per_tensor;
  switch (op.kind) {
    case OpKind::conv:
      switch (op.activation) {
        case Activation::clamp01:
        case Activation::hardsigmoid:
        case Activation::sigmoid:
          return GridRule::unit;
        case Activation::tanh:
          return GridRule::symmetric;
        default:
          return calibrated;
      }
    case OpKind::avg_pool2:
    case OpKind::upsample2:
    case OpKind::slice:
      return rule(0);
    case OpKind::mul:
      return product_rule(rule(0), rule(1), calibrated);
    case OpKind::blend:
      return GridRule::state;
    case OpKind::requantize:
      return within_one(rule(0)) ? GridRule::symmetric : calibrated;
    case OpKind::global_avg_pool:
      return rule(0) == GridRule::unit ? GridRule::unit : calibrated;
    default:
      throw Error("operation " + op.name + ": " + ir::name_of(op.kind) +
                  " cannot be quantized; fuse the graph first");
  }
}

Grid fixed_grid(GridRule rule) {
  if (rule == GridRule::unit) return {8, false, {1.0F / 255}, {0}};
  if (rule == GridRule::symmetric) return {8, false, {0x1p-7F}, {128}};
  return {16, true, {0x1p-15F}, {0}};
}

// The channels that a slice sees of its input's grid.
Grid sliced(const Grid& grid, int first, int count) {
  if (!grid.per_channel()) return grid;
  Grid part = grid;
  part.scale.assign(grid.scale.begin() + first, grid.scale.begin() + first + count);
  part.zero_point.assign(grid.zero_point.begin() + first, grid.zero_point.begin() + first + count);
  return part;
}

void move_pad_to_grid(const Graph& graph, Op& op) {
  if (op.kind != OpKind::conv || op.conv.pad_value.empty()) return;
  size_t channel = 0;
  for (int j = 0; j < op.segment_count(); ++j) {
    const ir::Tensor& input = graph.tensor(op.inputs[static_cast<size_t>(j)]);
    for (int c = 0; c < input.channels; ++c, ++channel) {
      const int32_t q = ir::halo_value(*input.grid, c, op.conv.pad_value[channel]);
      op.conv.pad_value[channel] =
          input.grid->scale_of(c) * static_cast<float>(q - input.grid->zero_point_of(c));
    }
  }
}

// First channels of the parts that slices take of a tensor.
std::vector<int> channel_groups(const Graph& graph, TensorId id) {
  std::vector<int> first = {0};
  for (const int reader : graph.consumers(id)) {
    const Op& op = graph.ops[static_cast<size_t>(reader)];
    if (op.kind == OpKind::slice) first.push_back(op.first_channel);
  }
  std::sort(first.begin(), first.end());
  first.erase(std::unique(first.begin(), first.end()), first.end());
  return first;
}

Grid low_bit_grid(const Graph& graph, TensorId id, const ObservedRange& seen, GridRule rule,
                  RangeMethod method, const ChannelScales& scales) {
  const bool per_channel = rule == GridRule::per_channel;
  if (method != RangeMethod::minmax)
    return per_channel ? clipped_channels_grid(seen)
                       : folded_channels_grid(seen, channel_groups(graph, id), scales);
  return per_channel ? affine_grid(seen.channel_lowest, seen.channel_highest, 4)
                     : affine_grid(seen.lowest, seen.highest, 4);
}

}  // namespace

std::vector<GridRule> resolved_grid_rules(const Graph& fused) {
  std::vector<GridRule> resolved(fused.tensors.size(), GridRule::per_tensor);
  resolved[static_cast<size_t>(fused.frame)] = GridRule::unit;
  for (const ir::State& state : fused.states)
    resolved[static_cast<size_t>(state.input)] = GridRule::state;
  for (const Op& op : fused.ops)
    resolved[static_cast<size_t>(op.output)] = resolved_rule(fused, op, resolved);
  for (const ir::State& state : fused.states)
    if (resolved[static_cast<size_t>(state.output)] != GridRule::state)
      throw Error("state " + state.name + ": its new value " + fused.tensor(state.output).name +
                  " is not a blend of values between -1 and 1, which 16-bit states need");
  return resolved;
}

std::vector<GridRule> grid_rules(const Graph& fused) {
  std::vector<GridRule> rules = resolved_grid_rules(fused);
  for (const Op& op : fused.ops)
    if (keeps_grid(op.kind)) rules[static_cast<size_t>(op.output)] = GridRule::inherited;
  return rules;
}

Grid affine_grid(float low, float high, int bits) {
  low = std::min(low, 0.0F);
  high = std::max(high, low + least_range);
  high = std::max(high, 0.0F);
  Grid grid;
  grid.bits = bits;
  const auto steps = static_cast<float>(grid.highest());
  const float scale = (high - low) / steps;
  grid.scale = {scale};
  grid.zero_point = {static_cast<int32_t>(std::clamp(std::nearbyint(-low / scale), 0.0F, steps))};
  return grid;
}

Grid affine_grid(const std::vector<float>& low, const std::vector<float>& high, int bits) {
  Grid grid;
  grid.bits = bits;
  for (size_t c = 0; c < low.size(); ++c) {
    const Grid one = affine_grid(low[c], high[c], bits);
    grid.scale.push_back(one.scale[0]);
    grid.zero_point.push_back(one.zero_point[0]);
  }
  return grid;
}

Grid grid_from(const ObservedRange& seen, GridRule rule, RangeMethod method) {
  // Clipping a depthwise input costs more than its finer steps gain (measured at 8 bit).
  if (rule == GridRule::per_channel)
    return affine_grid(seen.channel_lowest, seen.channel_highest, 8);
  if (method == RangeMethod::minmax || seen.samples.empty())
    return affine_grid(seen.lowest, seen.highest, 8);
  return method == RangeMethod::mse ? least_squares_grid(seen, 8) : folded_channels_grid(seen);
}

void inherit_grids(Graph& graph) {
  for (const Op& op : graph.ops) {
    if (!keeps_grid(op.kind)) continue;
    ir::Tensor& tensor = graph.tensor(op.output);
    const Grid& input = *graph.tensor(op.inputs[0]).grid;
    tensor.grid =
        op.kind == OpKind::slice ? sliced(input, op.first_channel, tensor.channels) : input;
  }
}

void assign_grids(StoredGraph& stored, const std::vector<ObservedRange>& ranges, RangeMethod method,
                  const ChannelScales& scales) {
  Graph& graph = stored.graph;
  const std::vector<GridRule> rules = grid_rules(graph);
  for (size_t id = 0; id < graph.tensors.size(); ++id) {
    const ObservedRange& seen = ranges[static_cast<size_t>(stored.source[id])];
    const GridRule rule = rules[id];
    std::optional<Grid>& grid = graph.tensors[id].grid;
    if (rule == GridRule::inherited) continue;
    if (stored.bits[id] == 4)
      grid = low_bit_grid(graph, static_cast<TensorId>(id), seen, rule, method, scales);
    else if (rule == GridRule::per_tensor || rule == GridRule::per_channel)
      grid = grid_from(seen, rule, method);
    else
      grid = fixed_grid(rule);
  }
  inherit_grids(graph);
  for (Op& op : graph.ops) move_pad_to_grid(graph, op);
}

}  // namespace mattec::quant
