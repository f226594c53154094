// Which tensors and weights are worth 8 bits: measured, not guessed.
#pragma once

#include <vector>

#include "quant/calibrate.h"
#include "quant/copies.h"
#include "quant/policy.h"
#include "quant/rounding_memo.h"

namespace mattec::quant {

// What 4 bits at one site alone do to alpha: expected sum of squared changes over the pixels of two
// consecutive frames, to first order.
struct SiteError {
  Site site;
  double error = 0;
  std::vector<double> channels = {};  // of an input: each channel's part of `error`
};

// One entry per site of `fused`. The change of alpha by a small change d of a tensor is J d; for
// random signs r over the pixels E[(r' J d)^2] = |J d|^2, and r' J d is a dot product with the
// gradient of r' alpha, so one backward pass probes all sites at once. Looks at the last two of
// each clip's first four frames; `options` and `memo` as for quantize(). Throws as quantize() does.
std::vector<SiteError> measure_sites(const ir::Graph& fused, const std::vector<Clip>& clips,
                                     const Calibration& calibration,
                                     const CalibrationOptions& options,
                                     const Progress& progress = {}, RoundingMemo* memo = nullptr);

struct PolicyBudget {
  double low_bit_share = 0.9;  // of multiplications: both factors at 4 bits
  double weight_bytes = 0.65;  // of the weights' size at 8 bits
};

// Starts from 4 bits everywhere and raises to 8 what lowers the summed error most for what it
// takes of the budget, as long as that lasts: weights, inputs, and where an input's channels have
// errors of their own, some of them. Multiplications are counted for `frame`.
BitPolicy best_policy(const ir::Graph& fused, const std::vector<SiteError>& errors,
                      const PolicyBudget& budget, ir::Size frame);

}  // namespace mattec::quant
