#include "quant/rounding.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace mattec::quant {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;

// Ties and exact grid values must not fall to the step below by float error.
constexpr float tie = 1e-4F;

float round_by(GridRounding rounding, float steps) {
  if (rounding == GridRounding::down) return std::floor(steps + tie);
  if (rounding == GridRounding::half_up) return std::floor(steps + (0.5F + tie));
  return std::nearbyint(steps);
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

class RoundThrough : public torch::autograd::Function<RoundThrough> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& value, const Tensor& factor,
                        const ir::Grid& grid, GridRounding rounding) {
    const Tensor x = channels_last(value);
    const int64_t count = x.size(1);
    const Channels channels = channels_of(grid, count, factor.item<float>());
    context->save_for_backward({x, factor, saved(channels)});
    context->saved_data["rounding"] = static_cast<int64_t>(rounding);
    Tensor result = torch::empty_like(x);
    const float* from = x.data_ptr<float>();
    float* to = result.data_ptr<float>();
    for_pixels(x.numel() / count, count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t c = 0; c < count; ++c) {
          const float steps = round_by(rounding, from[i * count + c] * channels.inverse[c]);
          to[i * count + c] =
              std::clamp(steps, channels.lowest[c], channels.highest[c]) * channels.scale[c];
        }
    });
    return result;
  }

  static torch::autograd::variable_list backward(AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &factor = saved[1];
    const auto rounding = static_cast<GridRounding>(context->saved_data["rounding"].toInt());
    const Tensor above = channels_last(gradients[0]);
    Tensor below = torch::empty_like(x), of_factor;
    const int64_t count = x.size(1), pixels = x.numel() / count;
    const Channels channels = restored(saved[2]);
    const float *from = x.data_ptr<float>(), *g = above.data_ptr<float>();
    float* to = below.data_ptr<float>();
    std::vector<double> sums(static_cast<size_t>(pixels), 0);
    for_pixels(pixels, count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float sum = 0;
        for (int64_t c = 0; c < count; ++c) {
          const int64_t k = i * count + c;
          const float steps = from[k] * channels.inverse[c], rounded = round_by(rounding, steps);
          const float kept = std::clamp(rounded, channels.lowest[c], channels.highest[c]);
          const bool inside = kept == rounded;
          to[k] = inside ? g[k] : 0;
          sum += g[k] * channels.scale[c] * (inside ? kept - steps : kept);
        }
        sums[static_cast<size_t>(i)] = sum;
      }
    });
    if (context->needs_input_grad(1)) {
      double sum = 0;  // in one order, whatever the threads: training is deterministic
      for (const double part : sums) sum += part;
      of_factor = torch::full_like(factor, sum / factor.item<double>());
    }
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
