// Inside the model file: a graph's structure as JSON. Long arrays (weights, biases, scales per
// channel) stay outside; model_file.cpp keeps them as arrays of the container.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::ir {

std::string graph_to_json(const Graph& graph);

// The graph without its long arrays, not yet verified. A per-channel grid has empty scales.
// Throws Error naming `path` and the place.
Graph graph_from_json(const std::string& text, const std::string& path);

// [output][input (1 if depthwise)][row][column]; empty where the operation's tensors make no sense.
std::vector<int64_t> weight_shape(const Graph& graph, const Op& op);

}  // namespace mattec::ir
