// What a script does with sizes. A compiled network runs at any size, so a value that comes from
// the size of the frame recorded from may decide nothing but what the graph can say without it.
#pragma once

#include <string>
#include <vector>

#include "frontend/script_value.h"

namespace mattec::frontend {

// Why something is refused, and the way out.
extern const char* const depends_on_size;

// Whether the result of an operator on values that vary is the same for all of them: the kind of
// a tensor, comparisons with None, and downsample_ratio (below 1 where a network is recorded with
// it) compared with what no ratio passes.
bool is_same_at_all_sizes(const std::string& kind, const std::vector<ScriptValue>& in);

// `times` a size, where the operator multiplies one by a constant; not a size where it does not.
ScriptValue multiple_of_size(const std::string& kind, const std::vector<ScriptValue>& in);

// Marks a value and all its entries as computed from a size.
ScriptValue derived(ScriptValue value);

}  // namespace mattec::frontend
