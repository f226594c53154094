// What `mattec quantize` does between reading and writing, for the demo too.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/calibrate.h"

namespace mattec::tools {

// Which bits: "w8a8", "w4a8" (all weights of convolutions at 4 bit), "w4a4" (a measured policy: at
// least 90 % of the multiplications 4 x 4 bit), "w4a4-96" (at least 96 %), or a .json file of
// quant::BitPolicy.
struct QuantizeOptions {
  std::string policy = "w8a8";
  quant::CalibrationOptions calibration;
};

// Throws Error for a policy that is neither named above nor a .json file.
void require_policy(const std::string& policy);

// The direct variant of an imported network as an integer graph, calibrated on `clips` (see
// find_clips) at `size`. Shows progress. Throws Error, Interrupted.
ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const QuantizeOptions& options);

}  // namespace mattec::tools
