// Which integer grid each tensor is stored on.
#pragma once

#include <functional>
#include <vector>

#include "ir/graph.h"

namespace mattec::quant {

// Where a tensor's grid comes from.
enum class GridRule {
  unit,        // 0 .. 1 by construction (frame, gates, clamped outputs): u8, scale 1/255
  symmetric,   // -1 .. 1 (tanh, gate * state, copies of states): u8, zero point 128, scale 2^-7
  state,       // recurrent states and blends: s16, scale 2^-15
  inherited,   // upsample2, avg_pool2, slice: their input's grid
  per_tensor,  // from calibration
  per_channel  // from calibration; only read by depthwise convolutions, whose weight scale per
               // channel absorbs it at no cost
};
// One rule per tensor. Throws Error if a recurrent state's output is not known to stay in -1 .. 1.
std::vector<GridRule> grid_rules(const ir::Graph& fused);

// Bits of each stored tensor and of each convolution's weights. W8A8 (the default) is 8
// everywhere; lower-bit policies replace the functions.
struct BitPolicy {
  std::function<int(const ir::Tensor&)> activation_bits = [](const ir::Tensor&) { return 8; };
  std::function<int(const ir::Op&)> weight_bits = [](const ir::Op&) { return 8; };
};

// How a calibrated range is found from what a tensor held.
enum class RangeMethod {
  minmax,      // all of it
  percentile,  // all but 0.01 % at each end
  mse          // least squared rounding error
};

// What calibration saw of one tensor.
struct ObservedRange {
  float lowest = 0, highest = 0;
  std::vector<float> samples;
  std::vector<float> channel_lowest, channel_highest;  // per_channel tensors only
};

// An affine grid whose real range covers [low, high] and 0; zero point 0 where low >= 0.
ir::Grid affine_grid(float low, float high, int bits);
ir::Grid affine_grid(const std::vector<float>& low, const std::vector<float>& high, int bits);
ir::Grid grid_from(const ObservedRange& seen, GridRule rule, RangeMethod method, int bits);

// Sets every tensor's grid: fixed and inherited ones by rule, the others from `ranges` (indexed
// by tensor id). Pad values of convolutions move to the nearest grid value, as the halo of a
// stored tensor holds it.
void assign_grids(ir::Graph& graph, const std::vector<GridRule>& rules,
                  const std::vector<ObservedRange>& ranges, RangeMethod method,
                  const BitPolicy& policy);

// Inserts one `requantize` behind each 16-bit tensor that a convolution or an upsampling reads,
// and lets those read the copy.
ir::Graph with_state_copies(const ir::Graph& fused);

}  // namespace mattec::quant
