// Channels taken out of and put into tensors [N][C][H][W] whose memory is [N][H][W][C] (channels
// last). torch::narrow leaves holes that the next convolution copies away element by element, and
// torch::cat and index_select copy so too: a sixth of calibration's time. These copy runs of
// channels. Gradients pass through. Tensors of other types or layouts get torch's operations.
#pragma once

#include <torch/types.h>

#include <vector>

namespace mattec::quant {

// The named channels in their order; no channel twice.
torch::Tensor take_channels(const torch::Tensor& x, const std::vector<int64_t>& channels);

// Tensors of one size, one after the other.
torch::Tensor join_channels(const std::vector<torch::Tensor>& parts);

}  // namespace mattec::quant
