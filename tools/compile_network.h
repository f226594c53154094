// What `mattec compile` does for one target, for the demo too.
#pragma once

#include <string>

#include "ir/graph.h"
#include "ir/sizes.h"
#include "targets/compile.h"

namespace mattec::tools {

// Shows progress. Throws Error, Interrupted.
targets::CompiledLibrary compile_network(const ir::Graph& graph, const std::string& target,
                                         ir::Size size, const std::string& name);

}  // namespace mattec::tools
