#include "quant/weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "quant/gptq.h"

namespace mattec::quant {
namespace {

using ir::Convolution;
using ir::Graph;
using ir::Grid;
using ir::Op;

constexpr int greatest_shift = 15;
// Accumulators stay below 2^31 in size also where zero points are folded into the bias, which at
// most doubles the products' share.
constexpr double accumulator_limit = 2147483647.0;
// Of the variance of rounding inputs, what dense filters may average out. Where a picture is smooth
// neighbours are rounded alike and nothing averages out, but what filters change of their response
// they change everywhere. Root mean square and temporal error at W4A4 with 0.15, 0.3, 0.5 and all
// of the variance: 1.85, 1.39, 1.59, 1.85; 0.85, 0.79, 0.80, 0.84.
constexpr double averaged_share = 0.3;

// One entry per channel of the convolved inputs, in their order.
struct InputChannels {
  std::vector<double> scale;
  std::vector<double> highest;  // integer that the channel's grid ends at
  std::vector<int> segment;
};

InputChannels input_channels(const Graph& graph, const Op& op) {
  InputChannels channels;
  for (int j = 0; j < op.segment_count(); ++j) {
    const ir::Tensor& input = graph.tensor(op.inputs[static_cast<size_t>(j)]);
    for (int c = 0; c < input.channels; ++c) {
      channels.scale.push_back(input.grid->scale_of(c));
      channels.highest.push_back(input.grid->highest());
      channels.segment.push_back(j);
    }
  }
  return channels;
}

// Index of the input channel that weight `index` multiplies.
class WeightIndex {
 public:
  explicit WeightIndex(const Convolution& conv, size_t inputs)
      : taps_(static_cast<size_t>(conv.kernel) * conv.kernel),
        inputs_(inputs),
        depthwise_(conv.depthwise) {}
  size_t row() const { return depthwise_ ? taps_ : inputs_ * taps_; }
  size_t channel(size_t index) const {
    return depthwise_ ? index / taps_ : index / taps_ % inputs_;
  }

 private:
  size_t taps_, inputs_;
  bool depthwise_;
};

// Exponent k per segment: mean over filters and channels of the largest weight, in units of the
// input's integers, brought within a factor of sqrt 2 of the largest segment's.
std::vector<int> segment_exponents(const Op& op, const InputChannels& channels,
                                   const WeightIndex& index) {
  const auto segments = static_cast<size_t>(op.segment_count());
  std::vector<int> exponents(segments, 0);
  if (op.conv.depthwise || segments < 2) return exponents;
  std::vector<double> sum(segments, 0);
  std::vector<double> count(segments, 0);
  const size_t taps = static_cast<size_t>(op.conv.kernel) * op.conv.kernel;
  for (size_t i = 0; i < op.conv.weight.size(); i += taps) {
    double largest = 0;
    for (size_t t = 0; t < taps; ++t)
      largest = std::max(largest, std::fabs(static_cast<double>(op.conv.weight[i + t])));
    const size_t channel = index.channel(i), segment = channels.segment[channel];
    sum[segment] += largest * channels.scale[channel];
    count[segment] += 1;
  }
  double top = 0;
  for (size_t j = 0; j < segments; ++j) top = std::max(top, sum[j] /= count[j]);
  for (size_t j = 0; j < segments; ++j)
    if (sum[j] > 0)
      exponents[j] =
          std::clamp(static_cast<int>(std::lround(std::log2(top / sum[j]))), 0, greatest_shift);
  return exponents;
}

double squared_error(const float* weight, size_t count, double scale, int lowest, int highest) {
  double error = 0;
  for (size_t i = 0; i < count; ++i) {
    const double q = std::clamp(std::nearbyint(weight[i] / scale), static_cast<double>(lowest),
                                static_cast<double>(highest));
    const double difference = q * scale - weight[i];
    error += difference * difference;
  }
  return error;
}

// Of 40 clips of the filter's largest weight, the one that rounds it best.
double filter_scale(const float* weight, size_t count, const WeightOptions& options, int lowest,
                    int highest) {
  double largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(double{weight[i]}));
  if (largest == 0 || !options.least_squares_scale) return largest / highest;
  const double from = options.bits == 8 ? 0.7 : 0.35, to = options.bits == 8 ? 1.0 : 1.1;
  const double levels = options.bits == 8 ? highest : highest + 0.5;
  double best = largest / highest, least = squared_error(weight, count, best, lowest, highest);
  for (int step = 0; step < 40; ++step) {
    const double scale = largest * (from + (to - from) * step / 39) / levels;
    const double error = squared_error(weight, count, scale, lowest, highest);
    if (error < least) least = error, best = scale;
  }
  return best;
}

// A nearly dead filter (no weights, or weights that move the output by far less than a step)
// would get a scale so small that its bias, in units of it, leaves 32 bits. 2^-26 of an output
// step per accumulator unit loses nothing that could be seen; 2^27 units hold any bias.
double least_scale(const Op& op, const Grid& output, size_t filter, int largest_exponent) {
  const double step = output.scale_of(static_cast<int>(filter));
  const double bias = std::fabs(static_cast<double>(op.conv.bias[filter]));
  return std::max(step * 0x1p-26, std::ldexp(bias, largest_exponent - 27));
}

struct Attempt {
  std::vector<int> exponents;
  std::vector<float> folded;   // weight * input scale * 2^k
  std::vector<double> factor;  // of each input channel: scale * 2^k
  std::vector<double> scale;   // per filter, of the folded weight
  std::vector<int8_t> rounded;
};

void fold(const Op& op, const InputChannels& channels, const WeightIndex& index, Attempt& attempt) {
  attempt.factor.resize(channels.scale.size());
  for (size_t c = 0; c < attempt.factor.size(); ++c)
    attempt.factor[c] =
        std::ldexp(channels.scale[c], attempt.exponents[static_cast<size_t>(channels.segment[c])]);
  attempt.folded.resize(op.conv.weight.size());
  for (size_t i = 0; i < attempt.folded.size(); ++i)
    attempt.folded[i] = static_cast<float>(op.conv.weight[i] * attempt.factor[index.channel(i)]);
}

// The covariance of real inputs as that of the integers which folded weights multiply: of inputs
// divided by the factor.
torch::Tensor folded(const torch::Tensor& covariance, const Op& op, const Attempt& attempt) {
  const torch::Tensor factor = torch::tensor(attempt.factor, torch::kDouble);
  if (op.conv.depthwise) return covariance / factor.square().reshape({-1, 1, 1});
  const torch::Tensor row = factor.repeat_interleave(int64_t{op.conv.kernel} * op.conv.kernel);
  return covariance / torch::outer(row, row);
}

// Makes a dense convolution's folded weights those for inputs that are rounded; the covariance of
// inputs, in the same units, gets what rounding adds to it.
void allow_for_rounding(const InputChannels& channels, const std::vector<double>& noise,
                        int64_t taps, double damping, torch::Tensor& covariance, Attempt& attempt) {
  std::vector<double> variances;
  for (size_t c = 0; c < channels.scale.size(); ++c) {
    const double even = channels.scale[c] * channels.scale[c] / 12;
    // A channel that rounding never changed in calibration may still be changed elsewhere.
    const double variance = noise.empty() ? even : std::max(noise[c], 1e-3 * even);
    variances.push_back(averaged_share * variance / (attempt.factor[c] * attempt.factor[c]));
  }
  const torch::Tensor added = torch::tensor(variances, torch::kDouble).repeat_interleave(taps);
  const torch::Tensor folded = torch::tensor(attempt.folded, torch::kDouble)
                                   .reshape({-1, static_cast<int64_t>(covariance.size(0))});
  const torch::Tensor wanted =
      denoising_weights(folded, covariance, added, damping).to(torch::kFloat);
  attempt.folded.assign(wanted.data_ptr<float>(), wanted.data_ptr<float>() + wanted.numel());
  covariance = covariance + torch::diag(added);
}

void round_nearest(Attempt& attempt, size_t row, int lowest, int highest) {
  attempt.rounded.resize(attempt.folded.size());
  for (size_t i = 0; i < attempt.folded.size(); ++i)
    attempt.rounded[i] =
        static_cast<int8_t>(std::clamp(std::nearbyint(attempt.folded[i] / attempt.scale[i / row]),
                                       static_cast<double>(lowest), static_cast<double>(highest)));
}

void round_gptq(const Op& op, const Moments& moments, const torch::Tensor& covariance,
                const RoundingOptions& rounding, const std::vector<double>& least, size_t row,
                Attempt& attempt) {
  if (!op.conv.depthwise) {
    RoundedWeights rounded =
        gptq_round(attempt.folded, covariance, moments.sensitivity, attempt.scale, least, rounding);
    attempt.rounded = std::move(rounded.integer);
    attempt.scale = std::move(rounded.scale);
    return;
  }
  attempt.rounded.clear();
  for (size_t o = 0; o < attempt.scale.size(); ++o) {
    const std::vector<float> filter(attempt.folded.begin() + static_cast<long>(o * row),
                                    attempt.folded.begin() + static_cast<long>((o + 1) * row));
    const RoundedWeights rounded = gptq_round(filter, covariance[static_cast<int64_t>(o)], {},
                                              {attempt.scale[o]}, {least[o]}, rounding);
    attempt.rounded.insert(attempt.rounded.end(), rounded.integer.begin(), rounded.integer.end());
    attempt.scale[o] = rounded.scale[0];
  }
}

// sum over inputs of (weight - rounded weight) * E[input], per filter.
std::vector<double> lost_mean(const Op& op, const Attempt& attempt, const WeightIndex& index,
                              const Moments& moments) {
  std::vector<double> lost(attempt.scale.size(), 0);
  const torch::Tensor mean = moments.first.contiguous();
  const double* m = mean.data_ptr<double>();
  const size_t row = index.row();
  for (size_t i = 0; i < attempt.rounded.size(); ++i) {
    const size_t o = i / row;
    const double real = attempt.rounded[i] * attempt.scale[o] / attempt.factor[index.channel(i)];
    lost[o] += (op.conv.weight[i] - real) * m[op.conv.depthwise ? i : i % row];
  }
  return lost;
}

// Fills the integer fields; false if an accumulator could leave 32 bits.
bool store(Op& op, const Attempt& attempt, const std::vector<double>& bias,
           const InputChannels& channels, const WeightIndex& index) {
  Convolution& conv = op.conv;
  const int top = *std::max_element(attempt.exponents.begin(), attempt.exponents.end());
  conv.segment_shift.clear();
  for (const int exponent : attempt.exponents) conv.segment_shift.push_back(top - exponent);
  conv.accumulator_scale.clear();
  conv.quantized_bias.clear();
  for (size_t o = 0; o < bias.size(); ++o) {
    const auto unit = static_cast<float>(std::ldexp(attempt.scale[o], -top));
    double reach = std::fabs(bias[o] / unit) + 1;
    for (size_t i = o * index.row(); i < (o + 1) * index.row(); ++i) {
      const size_t channel = index.channel(i);
      const int shift = conv.segment_shift[static_cast<size_t>(channels.segment[channel])];
      reach += std::ldexp(std::abs(attempt.rounded[i]) * channels.highest[channel], shift + 1);
    }
    if (!(reach < accumulator_limit)) return false;
    conv.accumulator_scale.push_back(unit);
    conv.quantized_bias.push_back(static_cast<int32_t>(std::lround(bias[o] / unit)));
  }
  conv.quantized_weight = attempt.rounded;
  return true;
}

void check(const Op& op) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(op.conv.weight.begin(), op.conv.weight.end(), finite) ||
      !std::all_of(op.conv.bias.begin(), op.conv.bias.end(), finite))
    throw Error("convolution " + op.name + ": weights are not all finite; check the model");
}

}  // namespace

void quantize_convolution(const Graph& graph, Op& op, const Moments& moments,
                          const WeightOptions& options, const std::vector<double>& noise) {
  check(op);
  const int highest = (1 << (options.bits - 1)) - 1;
  const int lowest = options.bits == 8 ? -highest : -highest - 1;
  const InputChannels channels = input_channels(graph, op);
  const WeightIndex index(op.conv, channels.scale.size());
  const Grid& output = *graph.tensor(op.output).grid;
  const auto filters = static_cast<size_t>(op.conv.output_channels);
  Attempt attempt;
  attempt.exponents = segment_exponents(op, channels, index);
  torch::Tensor covariance;
  if (options.rounding == WeightRounding::gptq) covariance = covariance_of(moments);
  op.conv.weight_bits = options.bits;
  int cap = *std::max_element(attempt.exponents.begin(), attempt.exponents.end());
  for (; cap >= 0; --cap) {
    for (int& exponent : attempt.exponents) exponent = std::min(exponent, cap);
    fold(op, channels, index, attempt);
    torch::Tensor folded_covariance;
    if (options.rounding == WeightRounding::gptq) {
      folded_covariance = folded(covariance, op, attempt);
      // As large as GPTQ's, the damping would hide the noise.
      if (!op.conv.depthwise)
        allow_for_rounding(channels, noise, int64_t{op.conv.kernel} * op.conv.kernel,
                           options.damping / 10, folded_covariance, attempt);
    }
    attempt.scale.resize(filters);
    std::vector<double> least(filters);
    for (size_t o = 0; o < filters; ++o) {
      least[o] = least_scale(op, output, o, cap);
      attempt.scale[o] = std::max(
          filter_scale(&attempt.folded[o * index.row()], index.row(), options, lowest, highest),
          least[o]);
    }
    if (options.rounding == WeightRounding::gptq)
      round_gptq(
          op, moments, folded_covariance,
          {lowest, highest, options.damping, options.bits == 4 && options.least_squares_scale},
          least, index.row(), attempt);
    else
      round_nearest(attempt, index.row(), lowest, highest);
    std::vector<double> bias(op.conv.bias.begin(), op.conv.bias.end());
    if (options.bias_correction) {
      const std::vector<double> lost = lost_mean(op, attempt, index, moments);
      for (size_t o = 0; o < filters; ++o) bias[o] += lost[o];
    }
    if (!store(op, attempt, bias, channels, index)) continue;
    op.conv.weight.clear();
    op.conv.bias.clear();
    return;
  }
  throw Error("convolution " + op.name + ": its sums leave 32 bits; it has too many inputs (" +
              std::to_string(index.row()) + " products per output)");
}

RealWeights real_weights(const Graph& graph, const Op& op) {
  const Convolution& conv = op.conv;
  const InputChannels channels = input_channels(graph, op);
  const WeightIndex index(conv, channels.scale.size());
  RealWeights real;
  for (size_t i = 0; i < conv.quantized_weight.size(); ++i) {
    const size_t channel = index.channel(i);
    const int shift = conv.segment_shift[static_cast<size_t>(channels.segment[channel])];
    const double unit = conv.accumulator_scale[i / index.row()];
    real.weight.push_back(static_cast<float>(std::ldexp(conv.quantized_weight[i] * unit, shift) /
                                             channels.scale[channel]));
  }
  for (size_t o = 0; o < conv.quantized_bias.size(); ++o)
    real.bias.push_back(conv.quantized_bias[o] * conv.accumulator_scale[o]);
  return real;
}

}  // namespace mattec::quant
