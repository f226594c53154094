// What `mattec quantize` does between reading and writing, for the demo too.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/calibrate.h"

namespace mattec::tools {

// The direct variant of an imported network as an integer graph, calibrated on `clips` (see
// find_clips) at `size`. Shows progress. Throws Error, Interrupted.
ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const quant::CalibrationOptions& options);

}  // namespace mattec::tools
