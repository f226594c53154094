// What playing clips through an executor takes.
#pragma once

#include <torch/types.h>

#include "ir/graph.h"
#include "quant/executor.h"
#include "quant/frames.h"

namespace mattec::quant {

// A frame as the network reads it: float [1][3][H][W], 0 .. 1, channels last.
torch::Tensor network_input(const Frame& frame);

// Convolutions and interpolations run 1.3 to 3 times as fast on channels-last tensors; the layout
// of the weights decides it for what follows.
Executor channels_last_executor(const ir::Graph& graph);

// Index of the output that is the matte: "pha", or the only one of a single channel.
// Throws Error where there is none.
size_t alpha_output(const ir::Graph& graph);

}  // namespace mattec::quant
