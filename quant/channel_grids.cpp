// Grids that weigh clipping against rounding, and scales per channel that convolutions absorb.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "quant/grids.h"
#include "quant/nearest.h"

namespace mattec::quant {
namespace {

using ir::Grid;

// Nearly all of a search is spent here. Where nearest_even is not exact, the clamp cuts anyway.
double squared_error(const std::vector<float>& samples, float scale, float zero, float highest) {
  constexpr size_t lanes = 8, block = 1024;  // short float sums stay accurate
  const float inverse = 1 / scale;
  const auto squared = [&](float value) {
    const float q = std::clamp(nearest_even(value * inverse) + zero, 0.0F, highest);
    const float difference = (q - zero) * scale - value;
    return difference * difference;
  };
  double total = 0;
  size_t i = 0;
  while (i + lanes <= samples.size()) {
    float errors[lanes] = {};
    for (const size_t end = std::min(samples.size(), i + block); i + lanes <= end; i += lanes)
      for (size_t lane = 0; lane < lanes; ++lane) errors[lane] += squared(samples[i + lane]);
    for (const float error : errors) total += error;
  }
  for (; i < samples.size(); ++i) total += squared(samples[i]);
  return total;
}

struct Range {
  float low = 0, high = 0;
};

// Clips both ends together step by step, then each on its own, and keeps what rounds best.
Range least_squares_range(Range all, const std::vector<float>& samples, int bits) {
  Range best = all;
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](Range range) {
    const Grid grid = affine_grid(range.low, range.high, bits);
    const double error =
        squared_error(samples, grid.scale[0], static_cast<float>(grid.zero_point[0]),
                      static_cast<float>(grid.highest()));
    if (error < least) least = error, best = range;
  };
  constexpr int steps = 20;
  for (int i = steps; i > 1; --i) {
    const float share = static_cast<float>(i) / steps;
    consider({all.low * share, all.high * share});
  }
  if (all.low >= 0) return best;
  for (int round = 0; round < 2; ++round) {
    const Range together = best;
    for (int i = steps; i >= 0; --i)
      consider({all.low * static_cast<float>(i) / steps, together.high});
    const Range lower = best;
    for (int i = steps; i > 0; --i) consider({lower.low, all.high * static_cast<float>(i) / steps});
  }
  return best;
}

std::vector<Range> channel_clips(const ObservedRange& seen) {
  const size_t channels = seen.channel_lowest.size();
  std::vector<Range> clips(channels);
  at::parallel_for(0, static_cast<int64_t>(channels), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> samples(seen.channel_samples.size() / channels);
    for (auto c = static_cast<size_t>(begin); c < static_cast<size_t>(end); ++c) {
      // Side by side: the search goes over them 60 times.
      for (size_t i = 0; i < samples.size(); ++i)
        samples[i] = seen.channel_samples[i * channels + c];
      clips[c] = least_squares_range(
          {std::min(seen.channel_lowest[c], 0.0F), std::max(seen.channel_highest[c], 1e-4F)},
          samples, 4);
    }
  });
  return clips;
}

float quantile(std::vector<float>& values, double fraction) {
  const std::ptrdiff_t index = std::lround(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + index, values.end());
  return values[static_cast<size_t>(index)];
}

// At 8 bits. Calibration has not seen everything: channels get a tenth more than their range, and a
// small one a sixth of the largest, below which finer steps gain nothing (a thirtieth: the same).
constexpr float channel_margin = 1.1F;
constexpr double least_share = 1.0 / 6;

}  // namespace

void append_channel(Grid& grid, double low, double high, double scale) {
  const double steps = grid.highest();
  const double lowest = low < 0 ? std::min((low + high - steps * scale) / 2, 0.0) : 0.0;
  grid.scale.push_back(static_cast<float>(scale));
  grid.zero_point.push_back(
      static_cast<int32_t>(std::clamp(std::nearbyint(-lowest / scale), 0.0, steps)));
}

Grid least_squares_grid(const ObservedRange& seen, int bits) {
  const Range range =
      least_squares_range({std::min(seen.lowest, 0.0F), seen.highest}, seen.samples, bits);
  return affine_grid(range.low, range.high, bits);
}

Grid clipped_channels_grid(const ObservedRange& seen) {
  std::vector<float> low, high;
  for (const Range& clip : channel_clips(seen)) {
    low.push_back(clip.low);
    high.push_back(clip.high);
  }
  return affine_grid(low, high, 4);
}

Grid folded_channels_grid(const ObservedRange& seen) {
  std::vector<float> values = seen.samples;
  const float lowest = std::min(quantile(values, 1e-4), 0.0F),
              highest = std::max(quantile(values, 1 - 1e-4), lowest + 1e-4F);
  std::vector<Range> clips;
  double largest = 1e-4;  // a tensor that is 0 everywhere needs a scale, too
  for (size_t c = 0; c < seen.channel_lowest.size(); ++c) {
    clips.push_back({std::clamp(seen.channel_lowest[c] * channel_margin, lowest, 0.0F),
                     std::clamp(seen.channel_highest[c] * channel_margin, 0.0F, highest)});
    largest = std::max(largest, double{clips[c].high} - clips[c].low);
  }
  Grid grid;
  for (const Range& clip : clips)
    append_channel(grid, clip.low, clip.high,
                   std::max(double{clip.high} - clip.low, largest * least_share) / 255);
  return grid;
}

Grid folded_channels_grid(const ObservedRange& seen, const std::vector<int>& groups,
                          const ChannelScales& scales) {
  const std::vector<Range> clips = channel_clips(seen);
  const double tensor_step = least_squares_grid(seen, 4).scale[0];
  Grid grid;
  grid.bits = 4;
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto first = static_cast<size_t>(groups[g]);
    const size_t end = g + 1 < groups.size() ? static_cast<size_t>(groups[g + 1]) : clips.size();
    double largest = 0;
    for (size_t c = first; c < end; ++c)
      largest = std::max(largest, double{clips[c].high} - clips[c].low);
    for (size_t c = first; c < end; ++c) {
      const double low = clips[c].low * scales.margin, high = clips[c].high * scales.margin;
      const double step = std::max(high - low, largest * scales.margin * scales.floor) / 15;
      const double shared =
          std::pow(step, scales.exponent) * std::pow(tensor_step, 1 - scales.exponent);
      append_channel(grid, low, high, std::max(step, shared));
    }
  }
  return grid;
}

}  // namespace mattec::quant
