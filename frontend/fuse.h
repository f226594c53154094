// The pass from the imported graph to the one an integer engine runs.
#pragma once

#include "ir/graph.h"

namespace mattec::frontend {

// Takes the direct or refined variant of an imported graph (batch norm already folded) and gives
// the same function in fused operations: input normalisation goes into the stem (with its pad
// value), concatenations become segments (upsampling of a concatenation: of each part), slices of
// linear convolutions become convolutions of their own (foreground and alpha), activations and
// residual additions become epilogues, (1-z)h + zc becomes blend, outputs get rounding `down`.
// Throws Error naming the operation that it cannot express.
ir::Graph fuse(const ir::Graph& imported);

// Removes channels that are constant for every input (filters whose weights are all zero, or so
// small that they are below float rounding: 1e-6 of the layer's largest) where every consumer can
// absorb the constant: convolutions take it into their bias, unless their border would differ from
// it. Operations that work channel by channel lose the channel on both sides or keep it. Filters of
// dead channels that must stay get weights of exactly zero. Returns the number of tensor channels
// removed.
int remove_dead_channels(ir::Graph& fused);

}  // namespace mattec::frontend
