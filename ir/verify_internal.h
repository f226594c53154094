// Inside the verifier: the checks of one operation, shared between its two files.
#pragma once

#include <functional>
#include <string>

#include "ir/graph.h"

namespace mattec::ir {

// Takes what is wrong with the thing being checked, without its name.
using Report = std::function<void(const std::string&)>;

// A grid by itself: bits, scales, zero points. Returns whether it is legal.
bool check_grid(const Tensor& tensor, const Report& report);

// An operation of a quantized graph, its float part already found sound: grids fit the operation,
// integer weights complete, accumulators inside 32 bits, multipliers inside their range.
void check_quantized(const Graph& graph, const Op& op, const Report& report);

}  // namespace mattec::ir
