// Trained networks with integers, the same on every machine: their ranges are written here, not
// observed in floats. No statement about quality.
#pragma once

#include <string>
#include <vector>

#include "nano/clip_generator.h"
#include "quant/calibrate.h"

namespace mattec::test {

inline std::vector<std::vector<uint8_t>> generated_clip(uint64_t seed, ir::Size size, int count) {
  const nano::ClipGenerator generator(seed, size.width, size.height);
  std::vector<std::vector<uint8_t>> frames;
  frames.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) frames.push_back(generator.frame(i).frame);
  return frames;
}

// A fused network, quantized to any bits.
class Quantizable {
 public:
  explicit Quantizable(ir::Graph fused) : fused_(std::move(fused)) {
    options_.method = quant::Method::minmax;
    for (const ir::Tensor& tensor : fused_.tensors)
      calibration_.ranges.push_back(range(tensor.channels, calibration_.ranges.size()));
  }
  ir::Graph quantized(int weight_bits, int activation_bits) const {
    quant::BitPolicy policy;
    policy.weights = weight_bits;
    policy.activations = activation_bits;
    return quant::quantize(fused_, calibration_, policy, options_);
  }

 private:
  // Up to 1, 2 or 4, another one for each tensor and channel.
  static quant::ObservedRange range(int channels, size_t tensor) {
    const auto size = static_cast<float>(1U << tensor % 3);
    quant::ObservedRange made;
    made.lowest = -size / 2;
    made.highest = size;
    for (int c = 0; c < channels; ++c) {
      const float of_channel = size * static_cast<float>(4 + c % 5) / 8;
      made.channel_lowest.push_back(-of_channel / 2);
      made.channel_highest.push_back(of_channel);
    }
    return made;
  }

  ir::Graph fused_;
  quant::CalibrationOptions options_;
  quant::Calibration calibration_;
};

}  // namespace mattec::test
