// The contract that every graph holds after a reader, a pass or a file made it.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::ir {

// Every violation, one line each, in the order of the operations; empty = the graph is sound for
// its stage. Checks: ids in range, single assignment, data flow order, channel counts, attribute
// ranges, weights complete and finite, states and outputs present; for quantized graphs also grids
// present and legal for the operation, segment shifts, and that no accumulator can leave 32 bits:
// |b| + sum (|w| * largest x) << shift < 2^31 for every output channel, both in the form that
// numerics.md defines (x = q - z, b = bias) and in the form that kernels run (x = q, zero points
// folded into b).
std::vector<std::string> violations(const Graph& graph);

// Throws Error with `what` (a file name, a pass) and the first violation, if there is one.
void verify(const Graph& graph, const std::string& what);

}  // namespace mattec::ir
