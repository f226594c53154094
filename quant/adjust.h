// What of a quantized graph may still change when its integers are there, and how.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace mattec::quant {

// Scales of activations that may get a factor: those of calibrated tensors that no convolution
// reads beside others (there, the scales of segments would move apart). Tensors on the same grid
// share it. The accumulator scales of the convolutions that read the tensor take the factor too.
struct MovableScales {
  std::vector<int> of;  // per tensor: index of its factor, or -1
  int count = 0;
};
MovableScales movable_scales(const ir::Graph& quantized);

// What a trained shift of 1 adds to each output of a convolution: an eighth of its grid's range.
// Where the accumulator's unit is tiny (a nearly dead filter) less: 2^24 units, which 32 bits hold.
std::vector<float> shift_units(const ir::Graph& graph, const ir::Op& op);

// Whether the sums of a filter stay within 32 bits for some bias.
bool has_room_for_bias(const ir::Graph& graph, const ir::Op& op, size_t filter);
// The integer nearest to a real bias that the sums have room for. The weights and accumulator scale
// of `op` must be set.
void set_bias(const ir::Graph& graph, ir::Op& op, size_t filter, double real);

}  // namespace mattec::quant
