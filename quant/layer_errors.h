// Where a quantized network leaves the float one: tensor by tensor, and in its mattes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/calibration_options.h"
#include "quant/frames.h"

namespace mattec::quant {

// Errors of the tensor x that operation `name` stores, relative to its float value:
// sqrt(sum |x_q - x|^2 / sum |x|^2) over all frames played. Of a tensor that is zero throughout: 0
// if the quantized one is too, else 1.
struct LayerError {
  std::string name;
  double weights = 0;      // float inputs, its own integer weights, not rounded to its grid
  double own = 0;          // the same rounded to its grid: what this layer adds
  double accumulated = 0;  // the quantized network's: what all layers before it have added too
};

// What both networks make of a calibration clip.
struct ClipMattes {
  double alpha_difference = 0;            // mean |alpha - float alpha| of all frames played
  Frame frame;                            // the last one played, and its mattes, 8 bit, rounded
  std::vector<uint8_t> exact, quantized;  // down as the engine does
};

struct LayerComparison {
  std::vector<LayerError> layers;  // of every operation but slices (views), in their order
  std::vector<ClipMattes> clips;
};

// Plays the first `frames_per_clip` frames of every clip through the float network and through the
// float simulation of the quantized one (simulate.h), states carried along in each. `quantized`:
// made from `fused` by quantize(). Clips as for observe(). `progress` is told at every tensor.
// Throws Error.
LayerComparison compare_layers(const ir::Graph& fused, const ir::Graph& quantized,
                               const std::vector<Clip>& clips, int frames_per_clip,
                               const Progress& progress = {});

}  // namespace mattec::quant
