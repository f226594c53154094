// Inputs of which a few channels have 8 bits and the others 4.
#pragma once

#include "ir/graph.h"
#include "quant/calibrate.h"
#include "quant/policy.h"

namespace mattec::quant {

struct Split {
  ir::Graph fused;
  Calibration calibration;
  BitPolicy policy;  // without high_channels
};

// Where a policy reads some channels of an input at 8 bits, the convolution gets two inputs in
// place of one: `requantize` operations that take the low and the high channels of the tensor, each
// with bits of its own. Weights, ranges and moments go with them; the function stays the same. What
// has no high channels is returned as it is. Throws Error naming an entry of `high_channels` that
// is no site, or whose channels are not some, but not all, of a 4-bit input's.
Split split_channels(const ir::Graph& fused, Calibration calibration, const BitPolicy& policy);

// The graph alone, for a policy that split_channels() took before.
ir::Graph split_graph(const ir::Graph& fused, const BitPolicy& policy);

}  // namespace mattec::quant
