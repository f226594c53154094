// Structural comparison of graphs.
#pragma once

#include <string>

#include "ir/graph.h"

namespace mattec::ir {

// The first attribute in which two operations differ (kind, activation, window, weights, ...;
// names, inputs and outputs are not compared), as text; empty = none. Real values count as equal
// within `tolerance` relative to the largest magnitude of their array; 0 = exactly.
std::string attribute_difference(const Op& a, const Op& b, double tolerance);

// The first difference between two graphs (operations in order, names, tensor ids, states,
// outputs, grids), as one line of text; empty = structurally equal.
std::string first_difference(const Graph& a, const Graph& b, double tolerance);

}  // namespace mattec::ir
