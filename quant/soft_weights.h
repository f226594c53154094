// Rounding of a convolution's weights as something that gradients change: AdaRound (Nagel et al.,
// 2020).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "ir/graph.h"

namespace mattec::quant {

// Each weight is base + h(V) integers, base fixed, h the rectified sigmoid, 0 .. 1. At first h
// rounds to the integer that the quantized graph has and leans towards the float weight by what it
// lacks, so that a rounding that already makes up for others' (GPTQ) is where the search starts.
class SoftWeights {
 public:
  // `weight`: the float one, in the order of the quantized. The grids in `graph` must be set.
  SoftWeights(const ir::Graph& graph, const ir::Op& op, const std::vector<float>& weight);

  const torch::Tensor& rounding() const { return rounding_; }  // V, trained
  torch::Tensor soft() const;                                  // real weights
  torch::Tensor hard() const;                                  // real weights, rounded
  std::vector<int8_t> integers() const;                        // the same, as the engine has them
  // Sum over weights of 1 - |2 h - 1|^beta: 0 where all are decided.
  torch::Tensor indecision(double beta) const;

 private:
  torch::Tensor share() const;  // h
  torch::Tensor rounding_, base_, step_;
  double lowest_, highest_;
};

}  // namespace mattec::quant
