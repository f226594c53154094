// Which integer grid each tensor is stored on.
#pragma once

#include <vector>

#include "ir/graph.h"
#include "quant/copies.h"

namespace mattec::quant {

// Where a tensor's grid comes from.
enum class GridRule {
  unit,        // 0 .. 1 by construction (frame, gates, clamped outputs): u8, scale 1/255
  symmetric,   // -1 .. 1 (tanh, gate * state, copies of states): u8, zero point 128, scale 2^-7; at
               // 4 bits, where 2^-3 would leave few levels to small states, from calibration
  state,       // recurrent states and blends: s16, scale 2^-15
  inherited,   // upsample2, avg_pool2, slice: their input's grid
  per_tensor,  // from calibration
  per_channel  // from calibration, per channel with every method: read by depthwise convolutions
};
// One rule per tensor. Throws Error if a recurrent state's output is not known to stay in -1 .. 1.
std::vector<GridRule> grid_rules(const ir::Graph& fused);
// The same with what an inherited grid is inherited from instead of `inherited`.
std::vector<GridRule> resolved_grid_rules(const ir::Graph& fused);

// How calibrated grids of 8 bits are made of what a tensor held.
enum class RangeMethod {
  minmax,   // one scale for all of it
  mse,      // one scale, of least squared rounding error
  channels  // folded_channels_grid
};

// What calibration saw of one tensor.
struct ObservedRange {
  float lowest = 0, highest = 0;
  std::vector<float> samples;
  std::vector<float> channel_lowest, channel_highest;
  // [position][channel]: at random positions, all channels of each
  std::vector<float> channel_samples;
};

// How per-channel scales of 4-bit tensors are made from channel clips.
struct ChannelScales {
  // scale_c = w_c^exponent * s^(1 - exponent), never below w_c: w_c is the step of the clip that
  // rounds channel c best, s that of the tensor. 0 = one scale.
  double exponent = 0.75;
  double floor = 1.0 / 6;  // w_c is at least this share of the largest
  double margin = 1.2;     // clips are widened by it, for content that calibration has not seen
};

// An affine grid whose real range covers [low, high] and 0; zero point 0 where low >= 0.
ir::Grid affine_grid(float low, float high, int bits);
ir::Grid affine_grid(const std::vector<float>& low, const std::vector<float>& high, int bits);
// The per-tensor grid of least squared error.
ir::Grid least_squares_grid(const ObservedRange& seen, int bits);
// 8 bits. What depthwise convolutions read has one scale per channel with every method.
ir::Grid grid_from(const ObservedRange& seen, GridRule rule, RangeMethod method);
// 4 bits, one scale per channel, for inputs of depthwise convolutions: each channel's clip of least
// squared error.
ir::Grid clipped_channels_grid(const ObservedRange& seen);
// 8 bits, one scale per channel: each channel's whole range, as far as it lies within all but
// 0.01 % of the tensor's values at each end; a tenth wider, at least a sixth of the largest.
ir::Grid folded_channels_grid(const ObservedRange& seen);
// 4 bits, one scale per channel, for inputs of dense convolutions: ChannelScales, made for each
// group of channels on its own; `groups` holds the first channel of each.
ir::Grid folded_channels_grid(const ObservedRange& seen, const std::vector<int>& groups,
                              const ChannelScales& scales);

// Appends a channel of `scale` to a grid: [low, high] in its middle, as far as 0 stays inside.
void append_channel(ir::Grid& grid, double low, double high, double scale);

// Gives upsampled, pooled and sliced tensors their inputs' grids.
void inherit_grids(ir::Graph& graph);

// Sets every tensor's grid: fixed and inherited ones by rule, the others from `ranges` (indexed
// by tensor of the fused graph). Pad values of convolutions move to the nearest grid value, as the
// halo of a stored tensor holds it.
void assign_grids(StoredGraph& stored, const std::vector<ObservedRange>& ranges, RangeMethod method,
                  const ChannelScales& scales);

}  // namespace mattec::quant
