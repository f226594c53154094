#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "ir/arithmetic.h"
#include "ir/verify_internal.h"

namespace mattec::ir {
namespace {

constexpr int64_t largest_accumulator = std::numeric_limits<int32_t>::max();
constexpr float state_scale = 1.0F / 32768;

// Zero, subnormal, infinite and NaN scales would make multipliers that targets treat differently.
bool is_legal_scale(float scale) { return std::isnormal(scale) && scale > 0; }

const Grid& grid_of(const Graph& graph, TensorId id) { return *graph.tensor(id).grid; }

bool is_legal_multiplier(float multiplier) { return std::fabs(multiplier) <= largest_multiplier; }

// Sums of one output channel's weights, per the two forms of the accumulator (numerics.md).
struct Reach {
  int64_t centred = 0;  // sum |w| * max(z, highest - z), shifted
  int64_t raw = 0;      // sum |w| * highest, shifted
  int64_t folded = 0;   // sum w * z, shifted
};

Reach reach_of(const Graph& graph, const Op& op, int output_channel) {
  const Convolution& conv = op.conv;
  const size_t area = static_cast<size_t>(conv.kernel) * conv.kernel;
  Reach reach;
  size_t inputs = 0;
  for (int s = 0; s < op.segment_count(); ++s)
    inputs += static_cast<size_t>(graph.tensor(op.inputs[static_cast<size_t>(s)]).channels);
  size_t next = static_cast<size_t>(output_channel) * (conv.depthwise ? 1 : inputs) * area;
  for (int s = 0; s < op.segment_count(); ++s) {
    const Tensor& segment = graph.tensor(op.inputs[static_cast<size_t>(s)]);
    const int64_t factor = int64_t{1} << conv.segment_shift[static_cast<size_t>(s)];
    const int first = conv.depthwise ? output_channel : 0;
    const int last = conv.depthwise ? output_channel : segment.channels - 1;
    for (int c = first; c <= last; ++c) {
      const int64_t zero = segment.grid->zero_point_of(c), high = segment.grid->highest();
      for (size_t k = 0; k < area; ++k) {
        const auto weight = int64_t{conv.quantized_weight[next++]};
        reach.centred += std::abs(weight) * std::max(zero, high - zero) * factor;
        reach.raw += std::abs(weight) * high * factor;
        reach.folded += weight * zero * factor;
      }
    }
  }
  return reach;
}

void check_accumulators(const Graph& graph, const Op& op, const Report& report) {
  for (int o = 0; o < op.conv.output_channels; ++o) {
    const Reach reach = reach_of(graph, op, o);
    const int64_t bias = op.conv.quantized_bias[static_cast<size_t>(o)];
    if (std::abs(bias) + reach.centred > largest_accumulator ||
        std::abs(bias - reach.folded) + reach.raw > largest_accumulator) {
      report("the accumulator of channel " + std::to_string(o) + " can leave 32 bits");
      return;
    }
  }
}

bool check_integers(const Graph& graph, const Op& op, const Report& report) {
  const Convolution& conv = op.conv;
  const auto out = static_cast<size_t>(conv.output_channels);
  size_t in = 0;
  for (int s = 0; s < op.segment_count(); ++s)
    in += static_cast<size_t>(graph.tensor(op.inputs[static_cast<size_t>(s)]).channels);
  const size_t weights =
      out * (conv.depthwise ? 1 : in) * static_cast<size_t>(conv.kernel) * conv.kernel;
  if (conv.weight_bits != 4 && conv.weight_bits != 8) {
    report("weights must have 4 or 8 bits");
    return false;
  }
  if (conv.quantized_weight.size() != weights || conv.quantized_bias.size() != out ||
      conv.accumulator_scale.size() != out ||
      conv.segment_shift.size() != static_cast<size_t>(op.segment_count())) {
    report("needs " + std::to_string(weights) + " integer weights, " + std::to_string(out) +
           " integer biases and accumulator scales, " + std::to_string(op.segment_count()) +
           " segment shifts");
    return false;
  }
  const auto fits4 = [](int8_t w) { return w >= -8 && w <= 7; };
  if (conv.weight_bits == 4 &&
      !std::all_of(conv.quantized_weight.begin(), conv.quantized_weight.end(), fits4)) {
    report("a weight does not fit 4 bits");
    return false;
  }
  const auto is_normal = [](float scale) { return std::isnormal(scale); };
  if (!std::all_of(conv.accumulator_scale.begin(), conv.accumulator_scale.end(), is_normal)) {
    report("accumulator scales must be normal numbers, not 0");
    return false;
  }
  const auto [least, most] =
      std::minmax_element(conv.segment_shift.begin(), conv.segment_shift.end());
  if (*least != 0 || *most > 15) {
    report("segment shifts must lie in 0 to 15, the smallest 0");
    return false;
  }
  return true;
}

}  // namespace

bool check_grid(const Tensor& tensor, const Report& report) {
  if (!tensor.grid) {
    report("has no grid");
    return false;
  }
  const Grid& grid = *tensor.grid;
  if (grid.is_signed ? grid.bits != 16 : grid.bits != 4 && grid.bits != 8) {
    report("a grid must be u4, u8 or s16");
    return false;
  }
  const auto channels = static_cast<size_t>(tensor.channels);
  if (grid.scale.size() != grid.zero_point.size() ||
      (grid.scale.size() != 1 && grid.scale.size() != channels)) {
    report("a grid must have one scale and zero point, or one of each per channel");
    return false;
  }
  if (!std::all_of(grid.scale.begin(), grid.scale.end(), is_legal_scale)) {
    report("scales must be positive, normal numbers");
    return false;
  }
  if (std::any_of(grid.zero_point.begin(), grid.zero_point.end(),
                  [&](int32_t z) { return z < grid.lowest() || z > grid.highest(); })) {
    report("a zero point is not on its grid");
    return false;
  }
  if (grid.is_signed && !(grid == Grid{16, true, {state_scale}, {0}})) {
    report("the 16-bit grid must have scale 2^-15 and zero point 0");
    return false;
  }
  return true;
}

void check_multipliers(const Graph& graph, const Op& op, const Report& report) {
  const Grid& out = grid_of(graph, op.output);
  const Grid& x = grid_of(graph, op.inputs[0]);
  for (int c = 0; c < graph.tensor(op.output).channels; ++c) {
    bool legal = true;
    if (op.kind == OpKind::conv) {
      const float residual =
          op.conv.has_residual ? grid_of(graph, op.residual()).scale_of(c) : out.scale_of(c);
      const EpilogueConstants constants =
          epilogue_constants(op.activation, op.conv.accumulator_scale[static_cast<size_t>(c)],
                             out.scale_of(c), residual);
      legal = is_legal_multiplier(constants.to_grid) && is_legal_multiplier(constants.to_real) &&
              is_legal_multiplier(constants.residual);
    } else if (op.kind == OpKind::mul) {
      legal = is_legal_multiplier(product_multiplier(
          x.scale_of(c), grid_of(graph, op.inputs[1]).scale_of(c), out.scale_of(c)));
    } else {
      legal = is_legal_multiplier(
          requantize_multiplier(x.scale_of(op.source_channel(c)), out.scale_of(c)));
    }
    if (!legal) {
      report("channel " + std::to_string(c) + ": the ratio of its scales is above 2^60");
      return;
    }
  }
}

void check_convolution(const Graph& graph, const Op& op, const Report& report) {
  for (TensorId input : op.inputs)
    if (grid_of(graph, input).is_signed) {
      report("reads " + graph.tensor(input).name + " on a 16-bit grid; requantize it first");
      return;
    }
  const Grid& out = grid_of(graph, op.output);
  if (out.is_signed) {
    report("cannot write a 16-bit grid");
    return;
  }
  if (op.rounding == Rounding::down &&
      std::any_of(out.zero_point.begin(), out.zero_point.end(), [](int z) { return z != 0; }))
    report("rounding down needs zero point 0");
  if (!check_integers(graph, op, report)) return;
  check_accumulators(graph, op, report);
  check_multipliers(graph, op, report);
}

void check_slice(const Graph& graph, const Op& op, const Report& report) {
  const Grid& in = grid_of(graph, op.inputs[0]);
  Grid expected = in;
  if (in.per_channel()) {
    const auto first = static_cast<size_t>(op.first_channel);
    const size_t end = first + static_cast<size_t>(graph.tensor(op.output).channels);
    expected.scale.clear();
    expected.zero_point.clear();
    for (size_t c = first; c < end; ++c) {
      expected.scale.push_back(in.scale[c]);
      expected.zero_point.push_back(in.zero_point[c]);
    }
  }
  if (!(grid_of(graph, op.output) == expected))
    report("its grid must be that of the channels it takes from its input");
}

void check_blend(const Graph& graph, const Op& op, const Report& report) {
  const Grid& z = grid_of(graph, op.inputs[0]);
  const auto is_zero = [](int32_t zero_point) { return zero_point == 0; };
  const auto is_gate = [](float scale) { return scale <= 1; };
  if (z.bits != 8 || !std::all_of(z.zero_point.begin(), z.zero_point.end(), is_zero) ||
      !std::all_of(z.scale.begin(), z.scale.end(), is_gate))
    report("z must be u8 with zero point 0 and a scale of at most 1");
  const Grid state{16, true, {state_scale}, {0}};
  if (!(grid_of(graph, op.inputs[1]) == state) || !(grid_of(graph, op.output) == state))
    report("h and the output must be s16 with scale 2^-15");
  if (!(grid_of(graph, op.inputs[2]) == Grid{8, false, {1.0F / 128}, {128}}))
    report("c must be u8 with scale 2^-7 and zero point 128");
}

void check_kept_grid(const Graph& graph, const Op& op, const Report& report) {
  if (!(grid_of(graph, op.output) == grid_of(graph, op.inputs[0])))
    report("its grid must be its input's");
}

}  // namespace mattec::ir
