#include "quant/jitter.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

namespace mattec::quant {

ColourJitter::ColourJitter(uint64_t seed) {
  std::mt19937_64 engine(seed);
  // Not std::uniform_real_distribution: its numbers differ from library to library.
  const auto uniform = [&engine](double low, double high) {
    return low + (high - low) * static_cast<double>(engine() >> 11) * 0x1p-53;
  };
  if (uniform(0, 1) < 0.6)
    for (int i = 2; i > 0; --i)
      std::swap(source_channel_[i], source_channel_[static_cast<int>(uniform(0, i + 1))]);
  const double gamma = uniform(0.6, 1.6), gain = uniform(0.7, 1.2), offset = uniform(-0.08, 0.08);
  for (auto& channel : value_) {
    const double channel_gain = gain * uniform(0.7, 1.3);
    for (int q = 0; q < 256; ++q)
      channel[q] = static_cast<float>(std::pow(q / 255.0, gamma) * channel_gain + offset);
  }
  if (uniform(0, 1) < 0.3) saturation_ = static_cast<float>(uniform(0.2, 2.0));
  mirrored_ = uniform(0, 1) < 0.5;
}

Frame ColourJitter::operator()(const Frame& frame) const {
  Frame altered{frame.width, frame.height, std::vector<uint8_t>(frame.rgb.size()),
                std::vector<uint8_t>(frame.alpha.size())};
  for (int y = 0; y < frame.height; ++y)
    for (int x = 0; x < frame.width; ++x) {
      const size_t row = static_cast<size_t>(y) * frame.width,
                   source = row + (mirrored_ ? frame.width - 1 - x : x);
      const uint8_t* from = &frame.rgb[source * 3];
      uint8_t* to = &altered.rgb[(row + x) * 3];
      if (!frame.alpha.empty()) altered.alpha[row + x] = frame.alpha[source];
      float value[3];
      for (int c = 0; c < 3; ++c) value[c] = value_[c][from[source_channel_[c]]];
      const float grey = (value[0] + value[1] + value[2]) / 3;
      for (int c = 0; c < 3; ++c) {
        const float mixed = grey + saturation_ * (value[c] - grey);
        to[c] = static_cast<uint8_t>(std::lround(std::clamp(mixed, 0.0F, 1.0F) * 255));
      }
    }
  return altered;
}

}  // namespace mattec::quant
