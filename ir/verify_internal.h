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

// Operations of a quantized graph, their float part already found sound: grids fit the operation,
// integer weights complete, accumulators inside 32 bits, multipliers inside their range.
void check_convolution(const Graph& graph, const Op& op, const Report& report);
void check_kept_grid(const Graph& graph, const Op& op, const Report& report);
void check_slice(const Graph& graph, const Op& op, const Report& report);
void check_blend(const Graph& graph, const Op& op, const Report& report);
void check_multipliers(const Graph& graph, const Op& op, const Report& report);

}  // namespace mattec::ir
