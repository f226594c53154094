// Rounding of a linear map's weights that keeps its output: GPTQ (Frantar et al., 2022), with a
// search for the scale and a descent from where it ends.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "quant/filter_rounding.h"

namespace mattec::quant {

struct RoundedWeights {
  std::vector<int8_t> integer;  // [O][K]
  std::vector<double> scale;    // [O], not 0; negative where -8 serves better than 8 would
};

// What the outputs' changes do together. Undefined: each output's change counts on its own.
// Else double [O][O], the second moments of gradients with respect to the outputs: the expected
// squared change of what was differentiated is about tr(sensitivity D covariance D'), D the change
// of the weights (a Kronecker factorization, as in K-FAC: Martens and Grosse, 2015).
//
// Rounds `weight` [O][K] (row major, O = scale.size()) to integers times a scale per output such
// that the expected squared change of the output, under `covariance` (double [K][K]) of the
// inputs, is small. Inputs are taken in the order of falling variance; the error of each rounding
// is spread over those not yet rounded. Then single integers move while that helps. With
// `search_scale` multiples of `scale` (> 0) are tried and the best one is fitted, none below
// `least_scale` [O]; where `lowest` < -`highest`, filters may be negated, and their scales with
// them.
RoundedWeights gptq_round(const std::vector<float>& weight, const torch::Tensor& covariance,
                          const torch::Tensor& sensitivity, const std::vector<double>& scale,
                          const std::vector<double>& least_scale, const RoundingOptions& options);

// The weights [O][K] for inputs that carry white noise of `noise` [K] (variances, > 0) besides:
// those whose output differs least, in the mean square, from that of `weight` without noise (a
// Wiener filter). `damping` as above: it lets no input be taken for a sum of others exactly.
// Doubles.
torch::Tensor denoising_weights(const torch::Tensor& weight, const torch::Tensor& covariance,
                                const torch::Tensor& noise, double damping);

// Variance [K] that remains of each input given those that gptq_round lets make up for it: in steps
// of s, its error of a filter is about s^2 / 12 times their sum. Double, as `covariance`.
torch::Tensor conditional_variances(const torch::Tensor& covariance, double damping);

}  // namespace mattec::quant
