// Motion between frames, for Optical-Flow Assistance (PTQ4VM): where a matte's pixels were one
// frame before.
#pragma once

#include <torch/types.h>

#include "quant/frames.h"

namespace mattec::quant {

struct Flow {
  torch::Tensor grid;  // float [1][H][W][2]: where a pixel was before, as grid_sample() takes it
  torch::Tensor
      seen;  // float [1][1][H][W]: 1 where that is known, 0 where it was hidden or outside
};

// Dense inverse search (Kroeger et al., 2016) both ways between two frames of one size, at least
// 16x16. A pixel counts as seen if following the flow back and forth ends within
// sqrt(0.01 (|f|^2 + |b|^2) + 0.5) pixels of it (Sundaram et al., 2010).
Flow flow_to_previous(const Frame& previous, const Frame& current);

// `previous` [1][C][H][W] moved to where its pixels are now: bilinear, in pixel coordinates.
torch::Tensor warp(const torch::Tensor& previous, const Flow& flow);

}  // namespace mattec::quant
