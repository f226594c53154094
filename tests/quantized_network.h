// Trained networks with integers whose ranges come from a generated clip: no statement about
// quality.
#pragma once

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

// A fused network, observed once and quantized to any bits.
class Quantizable {
 public:
  Quantizable(ir::Graph fused, quant::Method method, ir::Size size, int frames)
      : fused_(std::move(fused)) {
    options_.method = method;
    options_.jitter_copies = 0;
    quant::Clip clip;
    for (const std::vector<uint8_t>& rgb : generated_clip(1, size, frames))
      clip.push_back({size.width, size.height, rgb});
    calibration_ = quant::observe(fused_, {clip}, options_);
  }
  ir::Graph quantized(int weight_bits, int activation_bits) const {
    quant::BitPolicy policy;
    policy.weights = weight_bits;
    policy.activations = activation_bits;
    return quant::quantize(fused_, calibration_, policy, options_);
  }

 private:
  ir::Graph fused_;
  quant::CalibrationOptions options_;
  quant::Calibration calibration_;
};

}  // namespace mattec::test
