// Post-training quantization from calibration clips, in closed form: one pass of the float network
// over the clips, then grids and integer weights. No labels, no gradients.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/calibration_options.h"
#include "quant/frames.h"
#include "quant/observers.h"
#include "quant/policy.h"
#include "quant/rounding_memo.h"

namespace mattec::quant {

// What one pass of the float network over the clips tells; every bit policy starts from it.
struct Calibration {
  std::vector<ObservedRange> ranges;       // by tensor of the fused graph
  std::map<std::string, Moments> moments;  // by convolution; none for Method::minmax
};

// Plays a fused float graph of one variant (ir::extract). The clips' frames have the size that
// the network will run at (or one like it: several sizes may be mixed between clips).
// Throws Error for a graph of another stage, no clips, frames of unequal size within a clip or of
// wrong byte count, and values that are not finite.
Calibration observe(const ir::Graph& fused, const std::vector<Clip>& clips,
                    const CalibrationOptions& options, const Progress& progress = {});

// Grids and integer weights; the result is verified. Same clips, options and number of LibTorch
// threads give the same graph. Throws Error for a policy that names what is not there or that has
// high channels (see split.h). `memo`: what was rounded before is not rounded again.
ir::Graph quantize(const ir::Graph& fused, const Calibration& calibration, const BitPolicy& policy,
                   const CalibrationOptions& options, const Progress& progress = {},
                   RoundingMemo* memo = nullptr);

}  // namespace mattec::quant
