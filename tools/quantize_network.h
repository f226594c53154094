// What `mattec quantize` does between reading and writing, for the demo too.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "quant/calibrate.h"
#include "quant/layer_errors.h"
#include "quant/policy.h"
#include "quant/reconstruct.h"

namespace mattec::tools {

// Which bits: "w8a8", "w4a8" (all weights of convolutions at 4 bit), "w4a4" (a measured policy: at
// least 90 % of the multiplications 4 x 4 bit), "w4a4-96" (at least 96 %), or a .json file of
// quant::BitPolicy.
struct QuantizeOptions {
  std::string policy = "w8a8";
  quant::CalibrationOptions calibration;
  std::optional<quant::Reconstruction> reconstruction;  // of blocks, after rounding
  bool gac = false, ofa = false;                        // either: training after that
  double budget_minutes = 10;                           // for all of it, where something is trained
  // Where an interrupt during reconstruction or training leaves a checkpoint (checkpoint.h), for
  // `command`; empty: nowhere. It is removed when all is done.
  std::string checkpoint, command;
  bool resume = false;  // from there, instead of from the beginning
};

// Of a method that trains: (step, value); empty for those that do not.
struct TrainingCurves {
  std::vector<std::pair<int, double>> loss, validation;
  int best_step = 0;
};

// What the report says beside the graph.
struct QuantizeRecord {
  quant::BitPolicy policy;  // the measured one where it is measured
  quant::LayerComparison comparison;
  std::vector<size_t> compared;  // which of the clips it was made on
  quant::ReconstructionRecord reconstruction;
  TrainingCurves training;
};

// Throws Error for a policy that is neither named above nor a .json file.
void require_policy(const std::string& policy);

// The direct variant of an imported network as an integer graph, calibrated on `clips` (see
// find_clips) at `size`. Fills `record` unless null, which takes a few frames of each clip more.
// Shows progress. An interrupt during reconstruction or training ends these only. Resumed, with the
// time that is given anew, it ends with the bits it would have ended with. Throws Error,
// Interrupted.
ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const QuantizeOptions& options,
                           QuantizeRecord* record = nullptr);

}  // namespace mattec::tools
