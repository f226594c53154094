// Which tensors and weights have how many bits.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/sizes.h"

namespace mattec::quant {

// Bits of weights and of what convolutions read: 4 or 8. Frames, gates, squeeze-excite vectors
// (they cost no products) and outputs keep 8, recurrent states 16; where something else than a
// convolution reads a tensor too, it keeps 8 and the convolution reads a 4-bit copy.
struct BitPolicy {
  int weights = 8;                         // of convolutions that are not named below
  int activations = 8;                     // of tensors that are not named below
  std::map<std::string, int> weight_bits;  // by convolution
  // By tensor, or "tensor > convolution" for one reader; slices and resampled tensors that
  // convolutions alone read go by the name of what they are made of.
  std::map<std::string, int> activation_bits;
  // Of inputs that have 4 bits: channels that are read at 8, by the name of the site (copies.h).
  std::map<std::string, std::vector<int>> high_channels = {};

  int of_weights(const std::string& convolution) const;
  int of_input(const std::string& tensor, const std::string& convolution) const;
};

// A .json file: {"weights": 4, "activations": 4, "weight_bits": {"stem": 8},
// "activation_bits": {"block1": 8, "block1 > block2.expand": 4}}; the two maps may be absent.
// Throws Error naming the file, the key and what is allowed.
BitPolicy read_policy(const std::string& file);
std::string policy_json(const BitPolicy& policy);
// Throws Error naming an entry of the policy that is no convolution, tensor or pair of `fused`, or
// that chooses nothing there (see activation_keys).
void check_policy(const BitPolicy& policy, const ir::Graph& fused);

// Multiplications of one frame by weights of convolution `op` that segment `j` meets, with an
// output of `size`.
double segment_macs(const ir::Graph& graph, const ir::Op& op, int j, ir::Size size);

// Multiplications of one frame and the share of them whose both factors have 4 bits, with `graph`
// quantized.
struct LowBitShare {
  double macs = 0;
  double share = 0;  // 0 .. 1
};
LowBitShare low_bit_share(const ir::Graph& graph, ir::Size frame);

}  // namespace mattec::quant
