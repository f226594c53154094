#include "tests/kernel_graphs.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/ir_graphs.h"

namespace mattec::test {
namespace {

using ir::Activation;
using ir::OpKind;
using ir::TensorId;

const std::vector<Activation> linear = {Activation::none, Activation::relu, Activation::clamp01};
const std::vector<Activation> any = {
    Activation::none,    Activation::relu,        Activation::clamp01, Activation::hardswish,
    Activation::sigmoid, Activation::hardsigmoid, Activation::tanh};

class Builder {
 public:
  Builder(uint32_t seed, int most_channels) : make_(seed), most_channels_(most_channels) {
    make_.largest_shift = 6;
  }

  ir::Graph build() {
    const TensorId frame = make_.graph.frame;
    std::vector<TensorId> full = {frame};
    std::vector<TensorId> half = {strided(frame, 3, true), strided(frame, 5, false),
                                  strided(make_.slice(frame, 1, 2), 3, false),
                                  same_grid(OpKind::avg_pool2, {frame})};
    grow(half, 5);
    TensorId halves = same_grid(OpKind::avg_pool2, {make_.pick(half)});
    std::vector<TensorId> quarter = {strided(half.back(), make_.pick<int>({1, 3, 5}), false),
                                     strided(half[0], 3, false, true), halves};
    grow(quarter, 4);
    quarter.push_back(recurrent(quarter.back()));
    quarter.push_back(recurrent(sliced(quarter[0])));
    gather(quarter);
    for (const size_t back : {1, 2})
      half.push_back(
          same_grid(OpKind::upsample2, {sliced(quarter[quarter.size() - back]), half[0]}));
    grow(half, 2);
    gather(half);
    full.push_back(same_grid(OpKind::upsample2, {half.back(), frame}));
    full.push_back(dense({full.back(), frame}));
    outputs({full.back(), make_.pick(full)});
    return std::move(make_.graph);
  }

 private:
  int channels() { return make_.uniform(1, most_channels_); }

  TensorId same_grid(OpKind kind, const std::vector<TensorId>& inputs) {
    return make_.op(kind, inputs, make_.grid_of(inputs[0]));
  }

  TensorId strided(TensorId x, int kernel, bool pads_with_values, bool depthwise = false) {
    GraphMaker::ConvolutionShape shape;
    shape.kernel = kernel;
    shape.stride = 2;
    shape.padding = kernel / 2;
    shape.depthwise = depthwise;
    shape.output_channels = depthwise ? make_.channels_of(x) : channels();
    shape.activation = make_.pick(any);
    shape.random_pad_value = pads_with_values;
    return make_.conv({x}, shape);
  }

  GraphMaker::ConvolutionShape shape_keeping_size() {
    GraphMaker::ConvolutionShape shape;
    shape.kernel = make_.pick<int>({1, 3, 3, 5});
    shape.dilation = make_.pick<int>({1, 1, 2, 3});
    shape.padding = shape.dilation * (shape.kernel / 2);
    shape.activation = make_.pick(any);
    return shape;
  }

  TensorId dense(const std::vector<TensorId>& segments) {
    GraphMaker::ConvolutionShape shape = shape_keeping_size();
    shape.output_channels = channels();
    return make_.conv(segments, shape);
  }

  TensorId with_residual(const std::vector<TensorId>& segments, TensorId residual) {
    GraphMaker::ConvolutionShape shape = shape_keeping_size();
    shape.activation = make_.pick(linear);
    shape.output_channels = make_.channels_of(residual);
    shape.residual = residual;
    return make_.conv(segments, shape);
  }

  TensorId depthwise(TensorId x) {
    GraphMaker::ConvolutionShape shape = shape_keeping_size();
    shape.depthwise = true;
    shape.output_channels = make_.channels_of(x);
    return make_.conv({x}, shape);
  }

  // Some channels, at any offset; of tensors too narrow to cut, all.
  TensorId sliced(TensorId x) {
    const int all = make_.channels_of(x);
    const int first = make_.uniform(0, all - 1);
    return make_.slice(x, first, make_.uniform(1, all - first));
  }

  TensorId excited(TensorId x) {
    const int count = make_.channels_of(x);
    const TensorId pooled =
        make_.op(OpKind::global_avg_pool, {x}, make_.grid(count, make_.uniform(0, 1) == 0));
    GraphMaker::ConvolutionShape fc;
    fc.output_channels = channels();
    const TensorId squeezed = make_.conv({pooled}, fc);
    fc.output_channels = count;
    fc.activation = Activation::hardsigmoid;
    const TensorId gate =
        make_.conv_to({squeezed}, fc, make_.grid(count, make_.uniform(0, 1) == 0));
    return make_.op(OpKind::mul, {x, gate}, make_.grid(count, false));
  }

  // A state of `x`'s size; the update's 8-bit copy.
  TensorId recurrent(TensorId x) {
    return make_.recurrent(x, make_.state(std::min(channels(), 40)));
  }

  ir::Grid copy_grid(int channels) {
    ir::Grid grid = make_.grid(channels, make_.uniform(0, 2) == 0);
    const float factor = make_.pick<float>({1, 1, 1, 1, 1e-6F, 1e6F});
    for (float& scale : grid.scale) scale *= factor;
    return grid;
  }

  // `x` on other grids, whole and in parts, up to four times; together with copies of the same
  // channels on the same grid.
  void copy(TensorId x, std::vector<TensorId>& pool) {
    const ir::Grid grid = copy_grid(make_.channels_of(x));
    const int count = make_.uniform(1, 3);
    for (int i = 0; i < count; ++i) {
      const TensorId from = make_.uniform(0, 1) == 0 ? x : sliced(x);
      pool.push_back(make_.op(OpKind::requantize, {from}, copy_grid(make_.channels_of(from))));
      if (i == 0) pool.push_back(make_.op(OpKind::requantize, {x}, grid));
      if (i == 1) pool.push_back(make_.op(OpKind::requantize, {x}, grid));
      if (make_.uniform(0, 1) == 0) pool.push_back(taken(from));
    }
  }

  // Some channels of `x`, one or nearly all, in order or not, on another grid.
  TensorId taken(TensorId x) {
    std::vector<int> channels(static_cast<size_t>(make_.channels_of(x)));
    std::iota(channels.begin(), channels.end(), 0);
    for (size_t i = channels.size() - 1; i > 0; --i)
      std::swap(channels[i], channels[static_cast<size_t>(make_.uniform(0, static_cast<int>(i)))]);
    channels.resize(static_cast<size_t>(make_.uniform(1, make_.channels_of(x))));
    if (make_.uniform(0, 2) > 0) std::sort(channels.begin(), channels.end());
    return make_.take(x, channels, copy_grid(static_cast<int>(channels.size())));
  }

  // Adds `count` tensors made from some that are there, all of one size.
  void grow(std::vector<TensorId>& pool, int count) {
    for (int i = 0; i < count; ++i) {
      TensorId second = ir::no_tensor;
      const TensorId x = i % 2 == 0 ? pool.back() : make_.pick(pool);
      switch (make_.uniform(0, 8)) {
        case 0:
          second = make_.pick(pool);
          pool.push_back(dense({x, second, make_.pick(pool)}));
          break;
        case 1:
          second = sliced(make_.pick(pool));
          pool.push_back(with_residual({x, second}, sliced(make_.pick(pool))));
          break;
        case 2:
          pool.push_back(depthwise(make_.uniform(0, 1) == 0 ? x : sliced(x)));
          break;
        case 3:
          pool.push_back(excited(make_.uniform(0, 1) == 0 ? x : sliced(x)));
          break;
        case 4:  // only copies of it are read
          copy(make_.uniform(0, 1) == 0 ? dense({x}) : with_residual({x}, make_.pick(pool)), pool);
          break;
        case 5:
          copy(x, pool);
          break;
        case 6:
          second = same_grid(OpKind::avg_pool2, {sliced(x)});
          copy(same_grid(OpKind::upsample2, {second, pool[0]}), pool);
          break;
        case 7:
          pool.push_back(
              same_grid(OpKind::upsample2, {same_grid(OpKind::avg_pool2, {sliced(x)}), pool[0]}));
          break;
        default:
          pool.push_back(dense({sliced(x)}));
          break;
      }
    }
  }

  // Convolves what nothing reads yet, up to five tensors at a time, until one tensor is left that
  // depends on all.
  void gather(std::vector<TensorId>& pool) {
    for (;;) {
      std::vector<TensorId> loose;
      for (const TensorId id : pool)
        if (make_.graph.consumers(id).empty() && loose.size() < 5) loose.push_back(id);
      if (loose.size() == 1 && loose[0] == pool.back()) return;
      pool.push_back(dense(loose));
    }
  }

  void outputs(const std::vector<TensorId>& segments) {
    GraphMaker::ConvolutionShape shape;
    shape.kernel = make_.pick<int>({1, 3});
    shape.padding = shape.kernel / 2;
    shape.output_channels = 3;
    shape.activation = Activation::clamp01;
    shape.residual = make_.uniform(0, 3) == 0 ? ir::no_tensor : make_.graph.frame;
    const TensorId fgr = make_.conv_to(segments, shape, unit_grid());
    make_.graph.ops.back().rounding = ir::Rounding::down;
    const std::vector<int> shifts = make_.graph.ops.back().conv.segment_shift;
    shape.output_channels = 1;
    shape.residual = ir::no_tensor;
    const TensorId pha = make_.conv_to(segments, shape, unit_grid());
    make_.graph.ops.back().rounding = ir::Rounding::down;
    make_.graph.ops.back().conv.segment_shift = shifts;
    make_.graph.outputs = {{"fgr", fgr, ir::Variant::both}, {"pha", pha, ir::Variant::both}};
  }

  GraphMaker make_;
  int most_channels_;
};

// Largest magnitude that a bias may have beside these weights (ir/verify.h).
int64_t room_for_bias(const ir::Graph& graph, const ir::Op& op, int output_channel) {
  const ir::Convolution& conv = op.conv;
  const size_t taps = static_cast<size_t>(conv.kernel) * conv.kernel;
  const size_t row = conv.quantized_weight.size() / static_cast<size_t>(conv.output_channels);
  size_t at = row * static_cast<size_t>(output_channel);
  int64_t centred = 0, raw = 0, folded = 0, halves = 0, shifted = 0;  // the last two: signed bytes
  for (int s = 0; s < op.segment_count(); ++s) {
    const ir::Tensor& segment = graph.tensor(op.inputs[static_cast<size_t>(s)]);
    const int64_t factor = int64_t{1} << conv.segment_shift[static_cast<size_t>(s)];
    for (int c = 0; c < (conv.depthwise ? 1 : segment.channels); ++c) {
      const int64_t zero = segment.grid->zero_point_of(conv.depthwise ? output_channel : c);
      const int64_t high = segment.grid->highest();
      for (size_t k = 0; k < taps; ++k) {
        const int64_t weight = int64_t{conv.quantized_weight[at++]} * factor;
        centred += std::abs(weight) * std::max(zero, high - zero);
        raw += std::abs(weight) * high;
        folded += weight * zero;
        halves += std::abs(weight) * (high + 1) / 2;
        shifted += weight * (zero - (high + 1) / 2);
      }
    }
  }
  return std::numeric_limits<int32_t>::max() -
         std::max({centred, raw + std::abs(folded), halves + std::abs(shifted)});
}

void set_weights(ir::Convolution& conv, int output_channel, int8_t value) {
  const auto row = static_cast<std::ptrdiff_t>(conv.quantized_weight.size()) / conv.output_channels;
  const auto first = conv.quantized_weight.begin() + row * output_channel;
  std::fill(first, first + row, value);
}

}  // namespace

ir::Graph random_matting_graph(uint32_t seed, int most_channels) {
  return Builder(seed, most_channels).build();
}

void make_extreme(ir::Graph& graph, uint32_t seed) {
  GraphMaker random(seed);  // for its numbers alone
  for (ir::Op& op : graph.ops) {
    if (op.kind != OpKind::conv) continue;
    ir::Convolution& conv = op.conv;
    const ir::Grid& out = *graph.tensor(op.output).grid;
    const auto highest_weight = static_cast<int8_t>((1 << (conv.weight_bits - 1)) - 1);
    // Every pixel at the upper end of the grid: with the lowest weights of the convolutions that
    // read it, the largest sums that 16 bits must hold.
    const bool saturated = random.uniform(0, 3) == 0;
    for (int o = 0; o < conv.output_channels; ++o) {
      const auto at = static_cast<size_t>(o);
      const int sign = random.uniform(0, 1) == 0 ? 1 : -1;
      if (saturated) {
        set_weights(conv, o, 0);
        conv.quantized_bias[at] = 1;
        conv.accumulator_scale[at] = out.scale_of(o) * 0x1p59F;
        continue;
      }
      switch (random.uniform(0, 9)) {
        case 0:
          set_weights(conv, o, 0);
          break;
        case 1:
          set_weights(conv, o, static_cast<int8_t>(-highest_weight - 1));
          break;
        case 2:
          set_weights(conv, o, highest_weight);
          break;
        case 3:
          conv.accumulator_scale[at] = 1e-27F;
          break;
        case 4:
          conv.accumulator_scale[at] = static_cast<float>(sign) * out.scale_of(o) * 0x1p59F;
          break;
        case 5:  // a bound sum that the grid still shows: steps of 2^31 / 200
          conv.quantized_bias[at] =
              static_cast<int32_t>(sign * std::max<int64_t>(0, room_for_bias(graph, op, o)));
          conv.accumulator_scale[at] = out.scale_of(o) * 100 * 0x1p-31F;
          break;
        default:
          break;
      }
      if (room_for_bias(graph, op, o) < 0) set_weights(conv, o, 0);
      const int64_t room = room_for_bias(graph, op, o);
      conv.quantized_bias[at] =
          static_cast<int32_t>(std::clamp<int64_t>(conv.quantized_bias[at], -room, room));
    }
  }
}

}  // namespace mattec::test
