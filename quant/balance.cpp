#include "quant/balance.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "quant/gptq.h"
#include "quant/grids.h"

namespace mattec::quant {
namespace {

using ir::Graph;
using ir::Op;
using ir::TensorId;

// Squared step of 4-bit weights over the mean square of a filter's: of a normal distribution's best
// 16 levels.
constexpr double squared_step = 0.11;
// 3 of 8 bits. 4, 8 and 16 are alike within noise at W4A8 (1.68, 1.70, 1.65:
// docs/quantization_experiments.md).
constexpr double most_widened = 8;

size_t at(TensorId id) { return static_cast<size_t>(id); }

// One input of a convolution, by channel: coefficients of the error with s^2 of the channel.
struct Segment {
  TensorId input = ir::no_tensor;
  std::vector<double> noise;     // w' G w, summed over taps: times s^2
  std::vector<double> size;      // G-weighted mean square of weights: times s^2, of step^2
  std::vector<double> variance;  // d, summed over taps: divided by s^2
};
using Reader = std::vector<Segment>;

std::vector<double> input_scales(const Graph& graph, const Op& op) {
  std::vector<double> scales;
  for (int j = 0; j < op.segment_count(); ++j) {
    const ir::Tensor& input = graph.tensor(op.inputs[static_cast<size_t>(j)]);
    for (int c = 0; c < input.channels; ++c) scales.push_back(input.grid->scale_of(c));
  }
  return scales;
}

// Coefficients of a convolution of `bits`-bit weights; 8-bit ones pay for wider inputs, too, but
// their own rounding does not count.
Reader reader_of(const Graph& graph, const Op& op, const Moments& moments, int bits,
                 double damping) {
  const std::vector<double> scales = input_scales(graph, op);
  const auto inputs = static_cast<int64_t>(scales.size());
  const int64_t taps = int64_t{op.conv.kernel} * op.conv.kernel, outputs = op.conv.output_channels;
  const torch::Tensor weight =
      torch::tensor(op.conv.weight, torch::kDouble).reshape({outputs, inputs * taps});
  const torch::Tensor sensitivity =
      moments.sensitivity.defined() ? moments.sensitivity : torch::eye(outputs, torch::kDouble);
  const torch::Tensor scale = torch::tensor(scales, torch::kDouble).repeat_interleave(taps);
  const torch::Tensor covariance = covariance_of(moments) / torch::outer(scale, scale);
  const torch::Tensor parts[] = {(torch::mm(sensitivity, weight) * weight).sum(0),
                                 (sensitivity.diagonal().unsqueeze(1) * weight.square()).sum(0) /
                                     static_cast<double>(inputs * taps),
                                 conditional_variances(covariance, damping) * scale.square()};
  const double counts = bits == 4 ? 1 : 0;
  Reader reader;
  int64_t first = 0;
  for (int j = 0; j < op.segment_count(); ++j) {
    const TensorId input = op.inputs[static_cast<size_t>(j)];
    const int64_t count = graph.tensor(input).channels;
    const auto channels = [&](const torch::Tensor& part) {
      const torch::Tensor sum =
          part.reshape({inputs, taps}).sum(1).slice(0, first, first + count).contiguous();
      return std::vector<double>(sum.data_ptr<double>(), sum.data_ptr<double>() + count);
    };
    reader.push_back(
        {input, channels(parts[0]), channels(parts[1] * counts), channels(parts[2] * counts)});
    first += count;
  }
  return reader;
}

// A tensor's channels as slices and resampling show them.
struct View {
  TensorId tensor = ir::no_tensor;
  size_t first = 0;
};

std::vector<View> views_of(const Graph& graph, TensorId root) {
  std::vector<View> views = {{root, 0}};
  for (size_t v = 0; v < views.size(); ++v) {
    const View view = views[v];
    for (const int index : graph.consumers(view.tensor)) {
      const Op& op = graph.ops[static_cast<size_t>(index)];
      if (keeps_grid(op.kind) && op.inputs[0] == view.tensor)
        views.push_back({op.output, view.first + static_cast<size_t>(op.first_channel)});
    }
  }
  return views;
}

class Balance {
 public:
  Balance(StoredGraph& stored, const std::map<std::string, Moments>& moments,
          const BitPolicy& policy, double damping)
      : stored_(stored),
        moments_(moments),
        policy_(policy),
        damping_(damping),
        squares_(stored.bits.size()) {
    for (size_t i = 0; i < squares_.size(); ++i)
      for (int c = 0; c < stored.graph.tensors[i].channels; ++c)
        squares_[i].push_back(std::pow(double{stored.graph.tensors[i].grid->scale_of(c)}, 2));
  }

  void widen(TensorId root) {
    const std::vector<View> views = views_of(stored_.graph, root);
    std::vector<const Reader*> readers;
    if (!find_readers(views, readers)) return;
    const std::vector<double> least = squares_[at(root)];
    for (int sweep = 0; sweep < 10; ++sweep)
      for (size_t c = 0; c < least.size(); ++c) {
        const double square = best_square(views, readers, c);
        for (const View& view : views)
          if (c >= view.first && c - view.first < squares_[at(view.tensor)].size())
            squares_[at(view.tensor)][c - view.first] =
                std::clamp(square, least[c], least[c] * most_widened * most_widened);
      }
    store(root);
  }

 private:
  // Dense convolutions; false if none has 4-bit weights or one has a border value.
  bool find_readers(const std::vector<View>& views, std::vector<const Reader*>& readers) {
    bool gains = false;
    for (const View& view : views)
      for (const int index : stored_.graph.consumers(view.tensor)) {
        const Op& op = stored_.graph.ops[static_cast<size_t>(index)];
        if (op.kind != ir::OpKind::conv || op.conv.depthwise) continue;
        if (!op.conv.pad_value.empty()) return false;
        const auto end = op.inputs.begin() + op.segment_count();
        if (std::find(op.inputs.begin(), end, view.tensor) == end) continue;
        const int bits = policy_.of_weights(op.name);
        gains = gains || bits == 4;
        const auto [found, is_new] = readers_.try_emplace(op.name);
        if (is_new)
          found->second = reader_of(stored_.graph, op, moments_.at(op.name), bits, damping_);
        if (std::find(readers.begin(), readers.end(), &found->second) == readers.end())
          readers.push_back(&found->second);
      }
    return gains;
  }

  // With P = sum size s^2 and D = sum variance / s^2 of each segment, powers of two between
  // segments being free, a reader's error is sum noise s^2 + k (sum over segments of sqrt(P D))^2.
  // Where its derivative by the square of one scale is 0, the others as they are:
  double best_square(const std::vector<View>& views, const std::vector<const Reader*>& readers,
                     size_t channel) const {
    double falling = 0, rising = 1e-300;
    for (const Reader* reader : readers) {
      std::vector<double> size, variance;
      double root = 0;
      for (const Segment& segment : *reader) {
        const auto [p, d] = sums(segment);
        size.push_back(p);
        variance.push_back(d);
        root += std::sqrt(p * d);
      }
      for (size_t j = 0; j < reader->size(); ++j)
        for (const View& view : views) {
          const Segment& segment = (*reader)[j];
          if (segment.input != view.tensor || channel < view.first ||
              channel - view.first >= segment.noise.size())
            continue;
          const size_t c = channel - view.first;
          const double ratio = std::sqrt(variance[j] / size[j]);
          rising += segment.noise[c] + squared_step * root * ratio * segment.size[c];
          falling += squared_step * root / ratio * segment.variance[c];
        }
    }
    return std::sqrt(falling / rising);
  }

  std::pair<double, double> sums(const Segment& segment) const {
    double size = 1e-300, variance = 1e-300;
    for (size_t c = 0; c < segment.size.size(); ++c) {
      const double square = squares_[at(segment.input)][c];
      size += segment.size[c] * square;
      variance += segment.variance[c] / square;
    }
    return {size, variance};
  }

  void store(TensorId root) {
    ir::Grid& grid = *stored_.graph.tensor(root).grid;
    ir::Grid wide;
    for (int c = 0; c < stored_.graph.tensor(root).channels; ++c) {
      const double old = grid.scale_of(c), low = -old * grid.zero_point_of(c);
      append_channel(wide, low, low + old * grid.highest(),
                     std::sqrt(squares_[at(root)][static_cast<size_t>(c)]));
    }
    grid = wide;
  }

  StoredGraph& stored_;
  const std::map<std::string, Moments>& moments_;
  const BitPolicy& policy_;
  const double damping_;
  std::vector<std::vector<double>> squares_;  // of every tensor's scales
  std::map<std::string, Reader> readers_;
};

}  // namespace

void balance_channels(StoredGraph& stored, const std::map<std::string, Moments>& moments,
                      const BitPolicy& policy, double damping) {
  Balance balance(stored, moments, policy, damping);
  const std::vector<GridRule> rules = grid_rules(stored.graph);
  for (size_t i = 0; i < rules.size(); ++i)
    if (rules[i] == GridRule::per_tensor && stored.bits[i] == 8)
      balance.widen(static_cast<TensorId>(i));
  inherit_grids(stored.graph);
}

}  // namespace mattec::quant
