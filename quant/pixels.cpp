#include "quant/pixels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <vector>

namespace mattec::quant {

Pixels::Pixels(const torch::Tensor& value)
    : tensor_(value.stride(1) == 1 || value.size(1) == 1
                  ? value
                  : value.contiguous(torch::MemoryFormat::ChannelsLast)),
      data_(tensor_.data_ptr<float>()) {}

ChannelExtremes channel_extremes(const Pixels& pixels) {
  const auto channels = static_cast<size_t>(pixels.channels());
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> lowest(channels, infinity), highest(channels, -infinity);
  std::mutex joining;
  at::parallel_for(0, pixels.batch() * pixels.height(), 16, [&](int64_t begin, int64_t end) {
    std::vector<float> low(channels, infinity), high(channels, -infinity), zero(channels, 0);
    for (int64_t row = begin; row < end; ++row)
      for (int64_t x = 0; x < pixels.width(); ++x) {
        const float* pixel = pixels.at(row / pixels.height(), row % pixels.height(), x);
        for (size_t c = 0; c < channels; ++c) {
          low[c] = pixel[c] < low[c] ? pixel[c] : low[c];
          high[c] = pixel[c] > high[c] ? pixel[c] : high[c];
          zero[c] += pixel[c] * 0;  // not a number once a value was not finite
        }
      }
    const std::lock_guard<std::mutex> lock(joining);
    for (size_t c = 0; c < channels; ++c) {
      lowest[c] = std::min(lowest[c], low[c]) + zero[c];
      highest[c] = std::max(highest[c], high[c]) + zero[c];
    }
  });
  return {torch::tensor(lowest), torch::tensor(highest)};
}

torch::Tensor columns_at(const Pixels& pixels, const Window& window, const torch::Tensor& border) {
  const int64_t channels = pixels.channels(), positions = window.n.size(0),
                taps = int64_t{window.kernel} * window.kernel;
  torch::Tensor columns = torch::empty({positions, taps, channels});
  const auto n = window.n.accessor<int64_t, 1>(), first_y = window.y.accessor<int64_t, 1>(),
             first_x = window.x.accessor<int64_t, 1>();
  const float* outside = border.data_ptr<float>();
  auto* to = columns.data_ptr<float>();
  at::parallel_for(0, positions, 64, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t y = first_y[p] + tap / window.kernel * window.dilation,
                      x = first_x[p] + tap % window.kernel * window.dilation;
        const bool inside = y >= 0 && y < pixels.height() && x >= 0 && x < pixels.width();
        const float* from = inside ? pixels.at(n[p], y, x) : outside;
        std::copy(from, from + channels, to + (p * taps + tap) * channels);
      }
  });
  return columns;
}

torch::Tensor channel_moments(const torch::Tensor& columns, const torch::Tensor& weight) {
  const int64_t positions = columns.size(0), taps = columns.size(1), channels = columns.size(2);
  torch::Tensor sums = torch::zeros({taps, taps, channels});
  const float *from = columns.data_ptr<float>(), *weights = weight.data_ptr<float>();
  auto* to = sums.data_ptr<float>();
  std::vector<float> weighted(static_cast<size_t>(channels));
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < taps; ++i) {
      const float* a = from + (p * taps + i) * channels;
      for (int64_t c = 0; c < channels; ++c) weighted[static_cast<size_t>(c)] = weights[p] * a[c];
      for (int64_t j = 0; j <= i; ++j) {
        const float* b = from + (p * taps + j) * channels;
        float* sum = to + (i * taps + j) * channels;
        for (int64_t c = 0; c < channels; ++c) sum[c] += weighted[static_cast<size_t>(c)] * b[c];
      }
    }
  const torch::Tensor lower = sums.permute({2, 0, 1});
  return lower.tril() + lower.tril(-1).transpose(1, 2);
}

}  // namespace mattec::quant
