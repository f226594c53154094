// Small networks quantized on moving patterns, for tests of what is trained afterwards.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/blocks.h"
#include "quant/calibrate.h"
#include "small_matting_network.h"

namespace mattec::testing {

constexpr int small_width = 34, small_height = 26;

inline std::vector<quant::Clip> training_clips() {
  std::vector<quant::Clip> clips;
  for (uint32_t seed = 1; seed <= 4; ++seed)
    clips.push_back(moving_pattern(small_width, small_height, 12, seed));
  return clips;
}

// Weights and activations of `bits`.
inline ir::Graph quantized(const ir::Graph& fused, quant::Method method, int bits) {
  quant::CalibrationOptions options;
  options.method = method;
  options.window = 6;
  options.positions_per_frame = 300;
  quant::BitPolicy policy;
  policy.weights = policy.activations = bits;
  return quant::quantize(fused, quant::observe(fused, training_clips(), options), policy, options);
}

// Nearest rounding, which changes nothing elsewhere: weights of `block` at 4 bits, all else at 8.
inline ir::Graph with_low_weights(const ir::Graph& fused, const ir::Graph& even,
                                  const quant::Block& block) {
  quant::CalibrationOptions options;
  options.method = quant::Method::minmax;
  options.window = 6;
  quant::BitPolicy policy;
  for (const int i : block.ops) {
    const ir::Op& op = even.ops[static_cast<size_t>(i)];
    if (op.kind == ir::OpKind::conv) policy.weight_bits[op.name] = 4;
  }
  return quant::quantize(fused, quant::observe(fused, training_clips(), options), policy, options);
}

}  // namespace mattec::testing
