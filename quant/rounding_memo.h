// Weights that were rounded once.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "quant/weights.h"

namespace mattec::quant {

// Measuring a policy rounds all weights to 4 bits, and most convolutions of the network that the
// policy asks for read the same grids and have the same bits: of Robust Video Matting at W4A4 all
// of the decoder, which takes most of the time. May be called from several threads.
class RoundingMemo {
 public:
  // quantize_convolution(), or what that gave before for a convolution of this name and equal
  // arguments. Returns whether it was the latter.
  bool quantize(const ir::Graph& graph, ir::Op& op, const Moments& moments,
                const WeightOptions& options, const std::vector<double>& noise);

 private:
  // All that the integers depend on.
  struct Call {
    ir::Convolution convolution;
    std::vector<ir::Tensor> inputs;
    ir::Tensor output;
    Moments moments;
    WeightOptions options;
    std::vector<double> noise;
  };
  struct Rounded {
    Call call;
    ir::Convolution result;
  };
  static bool is_same(const Call& a, const Call& b);

  std::mutex mutex_;
  std::map<std::string, Rounded> rounded_;  // by convolution
};

}  // namespace mattec::quant
