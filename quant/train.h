// Training after rounding, end to end on the matte: Global Affine Calibration and Optical-Flow
// Assistance (PTQ4VM). The float network is the teacher, and exact mattes where frames have them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "quant/abort.h"
#include "quant/calibration_options.h"
#include "quant/frames.h"

namespace mattec::quant {

struct TrainingOptions {
  bool affine = true;  // GAC: gain and shift of every convolution; else activation scales alone
  bool flow = false;   // OFA
  int steps = 240;     // of one window each
  uint64_t seed = 0;
  int window = 3;             // frames that gradients flow through
  int warm_up = 2;            // at most so many frames are played before, without gradients
  int validation_frames = 8;  // the first of each clip that is not trained on, twice
  int validation_step = 40;
  // At first, falling to 0. From gptq at W4A4 150 steps at 1e-3 swing; from mse 3e-4 and 1e-3 are
  // alike; at 1e-2 minmax, whose matte is lost, ends with a worse one.
  double learning_rate = 3e-4;
  double layer_weight = 0.05;  // of the layers' relative squared errors
  double flow_weight = 0.25;   // of the flow term
  double gradient_norm = 0.3;
  double average = 0.05;  // share of a step in the moving average of the parameters, which is kept
  std::function<bool()> stop = {};  // asked before each step; training ends where it says true
  Abort abort = {};                 // likewise, but at any time: the step begun is dropped
};

struct TrainingRecord {
  std::vector<double> loss;                        // of each step
  std::vector<std::pair<int, double>> validation;  // step and error, first of step 0
  int best_step = 0;
  std::string state;  // where `stop` or `abort` ended training: what goes on from there takes
};

// Throws Error, naming the clip, unless it has at least window + warm_up frames, which with `flow`
// are 16x16 at least.
void require_training_clip(const Clip& clip, const std::string& name,
                           const TrainingOptions& options);
// The same of each clip, and that there are two at least.
void require_training_clips(const std::vector<Clip>& clips, const TrainingOptions& options);

// Returns `quantized` with trained parameters folded in, those of the least validation error (the
// geometric mean of mean |alpha - teacher's| over the clips that only validate, as they are and
// with the subject before another clip); step 0, `quantized` itself, competes. The teacher's matte
// is the exact one where a frame has it; its layers are the float network's.
// `fused` is the float graph that `quantized` was made from. Clips as for observe(), and as
// require_training_clips() has them. Same arguments and LibTorch threads give the same result, also
// where training was stopped and goes on: with the record that the stopped call filled (its state
// and curves) and the same other arguments. Throws Error.
ir::Graph train(const ir::Graph& fused, const ir::Graph& quantized, const std::vector<Clip>& clips,
                const TrainingOptions& options, TrainingRecord& record,
                const Progress& progress = {});

}  // namespace mattec::quant
