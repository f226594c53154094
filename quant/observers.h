// What calibration collects while the float network plays the clips.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/grids.h"

namespace mattec::quant {

// Extremes and random samples of the tensors whose grids come from calibration.
class RangeObserver {
 public:
  RangeObserver(const std::vector<GridRule>& rules, uint64_t seed, int samples_per_step);
  void see(ir::TensorId id, const torch::Tensor& value);  // [N][C][H][W]
  // Throws Error naming a tensor that held a value that is not finite, or that was never seen.
  std::vector<ObservedRange> ranges(const ir::Graph& graph) const;

 private:
  struct Seen {
    torch::Tensor lowest, highest;  // per channel, or one entry
    std::vector<float> samples;
  };
  std::vector<GridRule> rules_;
  std::vector<Seen> seen_;
  at::Generator generator_;
  int samples_per_step_;
};

// First and second moments of what a convolution multiplies its weights with, in the order of the
// weights: columns [input channel][row][column]; depthwise: one set for each channel.
struct Moments {
  torch::Tensor second;  // double: mean of x x', [K][K], or [channels][k*k][k*k]
  torch::Tensor first;   // double: mean of x, [K], or [channels][k*k]
};

// Sums them up over random positions of the (padded) input.
class MomentObserver {
 public:
  MomentObserver(uint64_t seed, int positions_per_step);
  void see(const ir::Op& convolution, const torch::Tensor& input);  // [N][C][H][W], not padded
  // Throws Error naming `convolution` if it was never seen.
  Moments moments(const ir::Op& convolution) const;

 private:
  struct Sums {
    torch::Tensor second, first;
    int64_t count = 0;
  };
  // [positions][C][k*k]
  torch::Tensor columns(const ir::Convolution& conv, const torch::Tensor& input);
  std::map<std::string, Sums> sums_;
  at::Generator generator_;
  int positions_per_step_;
};

}  // namespace mattec::quant
