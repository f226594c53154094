// Integer weights of one convolution: scales, segment shifts, rounding, bias.
#pragma once

#include "ir/graph.h"
#include "quant/observers.h"

namespace mattec::quant {

enum class WeightRounding {
  nearest,  // each weight on its own
  gptq      // the rest of a filter makes up for what each rounding changes (second moments)
};

struct WeightOptions {
  int bits = 8;
  WeightRounding rounding = WeightRounding::gptq;
  bool least_squares_scale = true;  // else the largest weight of a filter sets its scale
  bool bias_correction = true;      // bias += E[x] (weight - rounded weight)
  double damping = 0.01;            // GPTQ: of the mean variance, added to every input's
};

// Fills the integer fields of `op` from its float weight and bias, and clears those. The grids of
// the op's inputs and output in `graph` must be set. What is rounded is weight * input scale *
// 2^k, k >= 0 per segment such that the segments' weights are of like size: without it, segments
// with small activation scales would round to zero. The accumulator makes up for k by its shifts.
// Shifts shrink where an accumulator could leave 32 bits. Throws Error, naming the op, for weights
// that are not finite or cannot fit. `noise`: variance of what rounding changes of each input
// channel; none: s^2 / 12 of each step s.
void quantize_convolution(const ir::Graph& graph, ir::Op& op, const Moments& moments,
                          const WeightOptions& options, const std::vector<double>& noise = {});

// The float values that the integer weight and bias of a quantized convolution stand for.
struct RealWeights {
  std::vector<float> weight, bias;
};
RealWeights real_weights(const ir::Graph& graph, const ir::Op& op);

}  // namespace mattec::quant
