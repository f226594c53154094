// Rounding of a linear map's weights that keeps its output: GPTQ (Frantar et al., 2022).
#pragma once

#include <torch/torch.h>

#include <vector>

namespace mattec::quant {

// Rounds `weight` [O][K] (row major, O = scale.size()) to integers in [lowest, highest] times
// scale[o]. Inputs are taken in the order of falling variance; the error of each rounding is
// spread over the inputs not yet rounded such that the expected squared change of the output,
// under `covariance` (double [K][K]), stays least. `damping` times the mean variance is added to
// each variance.
std::vector<int8_t> gptq_round(const std::vector<float>& weight, const torch::Tensor& covariance,
                               const std::vector<double>& scale, int lowest, int highest,
                               double damping);

}  // namespace mattec::quant
