// Which tensors and weights have how many bits.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "ir/sizes.h"

namespace mattec::quant {

// Bits of weights and of what convolutions read: 4 or 8. Tensors that no bits are chosen for keep
// 8: frames, gates, squeeze-excite vectors (they cost no products), everything that something else
// than a convolution reads. Recurrent states keep 16.
struct BitPolicy {
  int weights = 8;                         // of convolutions that are not named below
  int activations = 8;                     // of tensors that are not named below
  std::map<std::string, int> weight_bits;  // by convolution
  std::map<std::string, int>
      activation_bits;  // by tensor, or "tensor > convolution" for one reader

  int of_weights(const std::string& convolution) const;
  int of_input(const std::string& tensor, const std::string& convolution) const;
};

// A .json file: {"weights": 4, "activations": 4, "weight_bits": {"stem": 8},
// "activation_bits": {"block1": 8, "block1 > block2.expand": 4}}; the two maps may be absent.
// Throws Error naming the file, the key and what is allowed.
BitPolicy read_policy(const std::string& file);
std::string policy_json(const BitPolicy& policy);
// Throws Error naming an entry of the policy that is no convolution, tensor or pair of `fused`.
void check_policy(const BitPolicy& policy, const ir::Graph& fused);

// Multiplications of one frame and the share of them whose both factors have 4 bits, with `graph`
// quantized.
struct LowBitShare {
  double macs = 0;
  double share = 0;  // 0 .. 1
};
LowBitShare low_bit_share(const ir::Graph& graph, ir::Size frame);

// A choice that a policy makes: the bits of a convolution's weights, or of an input of it.
struct Site {
  std::string name;  // as in BitPolicy's maps
  bool weights = false;
};
// All of them. Inputs have one site for each reader, but one for all readers of a tensor whose
// slices they share (a GRU's two convolutions).
std::vector<Site> sites_of(const ir::Graph& fused);

}  // namespace mattec::quant
