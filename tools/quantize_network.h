// What `mattec quantize` does between reading and writing, for the demo too.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "media/truth.h"
#include "quant/calibration_options.h"
#include "quant/layer_errors.h"
#include "quant/policy.h"
#include "quant/reconstruct.h"
#include "quant/train.h"

namespace mattec::tools {

// Which bits: "w8a8", "w4a8" (all weights of convolutions at 4 bit), "w4a4" (a measured policy: at
// least 90 % of the multiplications 4 x 4 bit), "w4a4-96" (at least 96 %), or a .json file of
// quant::BitPolicy.
struct QuantizeOptions {
  std::string policy = "w8a8";
  quant::CalibrationOptions calibration;
  std::optional<quant::Reconstruction> reconstruction;  // of blocks, after rounding
  bool gac = false, ofa = false;                        // either: training after that
  bool trains() const { return gac || ofa; }
  double budget_minutes = 10;  // for all of it, where something is trained
  std::vector<media::TruthClip> truth =
      {};  // whose exact mattes are taught, too, where gac or ofa trains
  // Where an interrupt during reconstruction or training leaves a checkpoint (checkpoint.h), for
  // `command`; empty: nowhere. The caller removes it when the result is safe.
  std::string checkpoint, command;
  bool resume = false;  // from there, instead of from the beginning
};

// What the report says beside the graph.
struct QuantizeRecord {
  quant::BitPolicy policy;  // the measured one where it is measured
  quant::LayerComparison comparison;
  // Of what was rounded, where it was reconstructed or trained after that.
  std::optional<quant::LayerComparison> before;
  std::vector<size_t> compared;  // which of the clips they were made on
  quant::ReconstructionRecord reconstruction;
  quant::TrainingRecord training;  // of no step where nothing trains
  int planned_steps = 0;           // of training, that the budget gives
  bool taught_by_truth = false;    // exact mattes
  bool interrupted = false;        // what came after it was left out, `comparison` too
  bool unfinished = false;         // interrupted, and the checkpoint goes on
};

// Throws Error for a policy that is neither named above nor in a .json file that can be read.
void require_policy(const std::string& policy);

// The direct variant of an imported network as an integer graph, calibrated on `clips` (see
// find_clips) at `size`. Fills `record` unless null, which plays three frames of four clips more.
// Shows progress. An interrupt during reconstruction or training ends these only. Resumed, with the
// time that is given anew, it ends with the bits it would have ended with. Throws Error,
// Interrupted.
ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const QuantizeOptions& options,
                           QuantizeRecord* record = nullptr);

}  // namespace mattec::tools
