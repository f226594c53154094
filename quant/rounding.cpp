#include "quant/rounding.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "quant/nearest.h"

namespace mattec::quant {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

// Ties and exact grid values must not fall to the step below by float error.
constexpr float tie = 1e-4F;

// |x| < 2^22. std::floor is a call, and calls in a loop over pixels took a quarter of a training
// step.
float floor_of(float x) {
  const float rounded = nearest_even(x);
  return rounded > x ? rounded - 1 : rounded;
}

template <GridRounding rounding>
float round_by(float steps) {
  if (rounding == GridRounding::down) return floor_of(steps + tie);
  if (rounding == GridRounding::half_up) return floor_of(steps + (0.5F + tie));
  return nearest_even(steps);
}

// One entry per channel; what rounding a value of the channel takes.
struct Channels {
  std::vector<float> scale, inverse, lowest, highest;  // ends in steps from zero
};

Channels channels_of(const ir::Grid& grid, int64_t count, float factor) {
  Channels channels;
  for (int c = 0; c < count; ++c) {
    const float scale = grid.scale_of(c) * factor;
    channels.scale.push_back(scale);
    channels.inverse.push_back(1 / scale);
    channels.lowest.push_back(static_cast<float>(grid.lowest() - grid.zero_point_of(c)));
    channels.highest.push_back(static_cast<float>(grid.highest() - grid.zero_point_of(c)));
  }
  return channels;
}

torch::Tensor saved(const Channels& channels) {
  return torch::stack({torch::tensor(channels.scale), torch::tensor(channels.lowest),
                       torch::tensor(channels.highest)});
}

Channels restored(const torch::Tensor& saved) {
  Channels channels;
  const auto row = [&saved](int64_t i) {
    const float* from = saved.data_ptr<float>() + i * saved.size(1);
    return std::vector<float>(from, from + saved.size(1));
  };
  channels.scale = row(0);
  channels.lowest = row(1);
  channels.highest = row(2);
  for (const float scale : channels.scale) channels.inverse.push_back(1 / scale);
  return channels;
}

// Calls work(first pixel, last pixel) in threads; tensors are [pixel][channel] in memory.
template <typename Work>
void for_pixels(int64_t pixels, int64_t channels, const Work& work) {
  at::parallel_for(0, pixels, std::max<int64_t>(1, 16384 / channels), work);
}

Tensor channels_last(const Tensor& tensor) {
  return tensor.contiguous(torch::MemoryFormat::ChannelsLast);
}

// A step beyond the grid's ends is as far out as any: what is rounded stays small.
float limited(float steps, float lowest, float highest) {
  return std::min(std::max(steps, lowest - 1), highest + 1);
}

template <GridRounding rounding>
void round_pixel(const float* from, const Channels& channels, int64_t count, float* to) {
  const float *scale = channels.scale.data(), *inverse = channels.inverse.data();
  const float *lowest = channels.lowest.data(), *highest = channels.highest.data();
  for (int64_t c = 0; c < count; ++c) {
    const float steps = round_by<rounding>(limited(from[c] * inverse[c], lowest[c], highest[c]));
    to[c] = std::min(std::max(steps, lowest[c]), highest[c]) * scale[c];
  }
}

// Returns the pixel's part of the factor's gradient.
template <GridRounding rounding>
float gradients_of_pixel(const float* from, const float* above, const Channels& channels,
                         int64_t count, float* below, float* of_factor) {
  const float *scale = channels.scale.data(), *inverse = channels.inverse.data();
  const float *lowest = channels.lowest.data(), *highest = channels.highest.data();
  for (int64_t c = 0; c < count; ++c) {
    const float steps = from[c] * inverse[c];
    const float rounded = round_by<rounding>(limited(steps, lowest[c], highest[c]));
    const float kept = std::min(std::max(rounded, lowest[c]), highest[c]);
    const bool inside = kept == rounded;
    below[c] = inside ? above[c] : 0;
    of_factor[c] = above[c] * scale[c] * (inside ? kept - steps : kept);
  }
  float sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += of_factor[c];
  return sum;
}

template <GridRounding rounding>
Tensor rounded(const Tensor& x, const Channels& channels) {
  const int64_t count = x.size(1);
  Tensor result = torch::empty_like(x);
  const float* from = x.data_ptr<float>();
  float* to = result.data_ptr<float>();
  for_pixels(x.numel() / count, count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      round_pixel<rounding>(from + i * count, channels, count, to + i * count);
  });
  return result;
}

// Gradients of the value; returns that of the factor.
template <GridRounding rounding>
double gradients(const Tensor& x, const Tensor& above, const Channels& channels, Tensor& below) {
  const int64_t count = x.size(1), pixels = x.numel() / count;
  const float *from = x.data_ptr<float>(), *g = above.data_ptr<float>();
  float* to = below.data_ptr<float>();
  std::vector<float> sums(static_cast<size_t>(pixels), 0);
  for_pixels(pixels, count, [&](int64_t begin, int64_t end) {
    std::vector<float> of_factor(static_cast<size_t>(count));
    for (int64_t i = begin; i < end; ++i)
      sums[static_cast<size_t>(i)] = gradients_of_pixel<rounding>(
          from + i * count, g + i * count, channels, count, to + i * count, of_factor.data());
  });
  double sum = 0;  // in one order, whatever the threads: training is deterministic
  for (const float part : sums) sum += part;
  return sum;
}

// work<rounding>()
template <typename Work>
auto with(GridRounding rounding, const Work& work) {
  using Nearest = std::integral_constant<GridRounding, GridRounding::nearest_even>;
  using HalfUp = std::integral_constant<GridRounding, GridRounding::half_up>;
  using Down = std::integral_constant<GridRounding, GridRounding::down>;
  if (rounding == GridRounding::down) return work(Down());
  return rounding == GridRounding::half_up ? work(HalfUp()) : work(Nearest());
}

class RoundThrough : public torch::autograd::Function<RoundThrough> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& value, const Tensor& factor,
                        const ir::Grid& grid, GridRounding rounding) {
    const Tensor x = channels_last(value);
    const Channels channels = channels_of(grid, x.size(1), factor.item<float>());
    context->save_for_backward({x, factor, saved(channels)});
    context->saved_data["rounding"] = static_cast<int64_t>(rounding);
    return with(rounding, [&](auto kind) { return rounded<kind>(x, channels); });
  }

  static torch::autograd::variable_list backward(AutogradContext* context,
                                                 const torch::autograd::variable_list& from) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &factor = saved[1];
    const auto rounding = static_cast<GridRounding>(context->saved_data["rounding"].toInt());
    const Channels channels = restored(saved[2]);
    Tensor below = torch::empty_like(x);
    const double sum = with(rounding, [&](auto kind) {
      return gradients<kind>(x, channels_last(from[0]), channels, below);
    });
    const Tensor of_factor = context->needs_input_grad(1)
                                 ? torch::full_like(factor, sum / factor.item<double>())
                                 : Tensor();
    return {below, of_factor, Tensor(), Tensor()};
  }
};

GridRounding grid_rounding(const ir::Op& op) {
  if (op.kind == ir::OpKind::slice) return GridRounding::none;
  if (op.kind == ir::OpKind::avg_pool2 || op.kind == ir::OpKind::upsample2)
    return GridRounding::half_up;
  return op.rounding == ir::Rounding::down ? GridRounding::down : GridRounding::nearest_even;
}

}  // namespace

std::vector<GridRounding> grid_roundings(const ir::Graph& graph) {
  std::vector<GridRounding> roundings(graph.tensors.size(), GridRounding::nearest_even);
  for (const ir::Op& op : graph.ops) roundings[static_cast<size_t>(op.output)] = grid_rounding(op);
  return roundings;
}

std::vector<GridRounding> trained_roundings(const ir::Graph& graph) {
  std::vector<GridRounding> roundings = grid_roundings(graph);
  for (const ir::Output& output : graph.outputs)
    roundings[static_cast<size_t>(output.tensor)] = GridRounding::none;
  return roundings;
}

Tensor round_through(const Tensor& value, const ir::Grid& grid, GridRounding rounding,
                     const Tensor& factor) {
  if (rounding == GridRounding::none) return value;
  // Autograd takes no undefined tensors.
  return RoundThrough::apply(value, factor.defined() ? factor : torch::ones({}), grid, rounding);
}

}  // namespace mattec::quant
