// Scales of 8-bit channels that make the weights reading them easier to round to 4 bits.
#pragma once

#include <map>
#include <string>

#include "quant/copies.h"
#include "quant/observers.h"
#include "quant/policy.h"

namespace mattec::quant {

// Widens scales of channels of 8-bit tensors where that lessens the expected squared error of
// alpha: what rounding the tensor adds together with what rounding the 4-bit weights of the dense
// convolutions adds that read it. Weights are rounded after they are multiplied by the scales s of
// their inputs, in steps that all inputs of a filter share, so the error of GPTQ is about
//   step^2 / 12 * sum_j d_j / s_j^2,   step^2 ~ mean_j (w_j s_j)^2,
// d_j the variance of input j given those that make up for it: a channel of much variance and
// small weights wants a large s (Cauchy-Schwarz: s^2 ~ sqrt(d) / w) and pays w^2 s^2 / 12 of its
// own rounding for it. `damping` as for gptq_round. The grids that `stored` has are the least
// scales, so nothing clips more than it did. Tensors beside a border value stay as they are.
void balance_channels(StoredGraph& stored, const std::map<std::string, Moments>& moments,
                      const BitPolicy& policy, double damping);

}  // namespace mattec::quant
