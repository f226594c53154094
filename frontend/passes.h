// Passes on imported graphs that every reader ends with.
#pragma once

#include "ir/graph.h"

namespace mattec::frontend {

// Folds batch normalisations and per-channel scalings into the convolution before them, and
// successive scalings into one. What stays is left as scale_shift (no batch_norm remains).
// Computed in double, rounded once.
void fold_constants(ir::Graph& graph);

// The same function in the one order and with the one set of names that depend on its structure
// only, so that graphs from different files can be compared: equal operations on equal inputs are
// merged, what no output or state needs is dropped, operations follow in depth-first order from
// the outputs. Convolutions keep their names; other operations are named after the convolution (or
// input) that they follow, e.g. "backbone.features.0.0.hardswish". Tensors: frame, states, then
// the operations' outputs in order.
ir::Graph canonical(const ir::Graph& graph);

}  // namespace mattec::frontend
