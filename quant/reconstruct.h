// Block reconstruction after rounding: BRECQ (Li et al., 2021) and QDrop (Wei et al., 2022) from
// the integers that quantize() made. The float network is the teacher; no labels.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "quant/abort.h"
#include "quant/calibration_options.h"
#include "quant/frames.h"

namespace mattec::quant {

enum class Reconstruction {
  brecq,  // roundings with what the block stores unrounded, then scales
  qdrop   // together, while half of the block's inputs and of what it stores is left unrounded
};

struct ReconstructionOptions {
  Reconstruction method = Reconstruction::qdrop;
  int steps = 200;  // of a block, in the mean over blocks as their cost weighs them (steps_of)
  uint64_t seed = 0;
  int window = 2;            // frames that gradients flow through
  int warm_up = 2;           // frames played before every second window, without gradients
  int windows_per_clip = 2;  // kept in memory
  // Asked before each window, each block and each step; what is not done stays as it is.
  std::function<bool()> stop = {};
  Abort abort = {};  // likewise, but at any time: the block begun is dropped
};

struct ReconstructedBlock {
  std::string name;
  int steps = 0;
  // On clips that are not trained on, over those before, in the geometric mean over windows: the
  // error of what the block passes on, and that of alpha. Where both fall, what was trained is
  // kept.
  double ratio = 1, alpha_ratio = 1;
  bool is_kept() const { return ratio < 1 && alpha_ratio < 1; }
};

struct ReconstructionRecord {
  std::vector<double> loss;  // of each step, over its block's before
  std::vector<ReconstructedBlock> blocks;
  // Where `stop` or `abort` ended it: the network before the block that it was at, and how many
  // blocks and steps belong to it. What goes on from there takes this.
  struct Stopped {
    ir::Graph network;
    size_t blocks = 0, steps = 0;
  };
  std::optional<Stopped> stopped;
};

// Throws Error, naming the clip, unless there are two clips at least, each of at least window +
// warm_up frames.
void require_reconstruction_clips(const std::vector<Clip>& clips,
                                  const ReconstructionOptions& options);

// Steps of each block, one at least: as the root of gain over cost, where the sum of gain / steps
// is least for what they cost together. That is about as much as `mean` steps of every block.
std::vector<int> steps_of(const std::vector<double>& gains, const std::vector<double>& costs,
                          int mean);

// Returns `quantized` with other roundings of weights (by one step at most), biases and scales of
// activations, block after block (blocks.h); in each, what lowers its error and that of alpha on
// every fourth clip (is_validation_clip), which is not trained on. `fused` is the float graph that
// `quantized` was made from. The squared error of what a block passes on is weighed by the gradient
// of random projections of alpha. Clips as for observe(). Same arguments and LibTorch threads give
// the same result, also where it was stopped and goes on: with the record that the stopped call
// filled and the same other arguments. `progress` is told after each window and each step. Throws
// Error, also for a record to go on from that is damaged or of another network.
ir::Graph reconstruct(const ir::Graph& fused, const ir::Graph& quantized,
                      const std::vector<Clip>& clips, const ReconstructionOptions& options,
                      ReconstructionRecord& record, const Progress& progress = {});

}  // namespace mattec::quant
