// Recognition of the GRU's update in an imported graph.
#pragma once

#include "ir/graph.h"

namespace mattec::frontend {

// Replaces (1 - z) h + z c and h + z (c - h), in any order of operands, by one `blend` operation;
// returns the canonical graph.
ir::Graph recognise_blend(const ir::Graph& imported);

}  // namespace mattec::frontend
