// Which tensors an integer engine stores more than once: 8-bit copies of 16-bit states, 4-bit
// copies of tensors that something else reads at 8.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/policy.h"

namespace mattec::quant {

// Whether an operation's output shares the grid of its (first) input.
bool keeps_grid(ir::OpKind kind);

struct StoredGraph {
  ir::Graph graph;        // `requantize` operations added; ids of the fused graph kept
  std::vector<int> bits;  // per tensor: 4, 8 or 16
  std::vector<ir::TensorId>
      source;                     // per tensor: itself, or the tensor of the fused graph it copies
  std::vector<std::string> site;  // per tensor of 4 bits: the policy's name for it
};

// For measuring: every site has a tensor of its own.
enum class Copies { shared, one_per_site };

// Inserts a `requantize` wherever a convolution or an upsampling reads other bits than the tensor
// is stored with, one for all readers of the same bits. Stored are: states and what views them at
// 16 bits; a tensor that convolutions alone read, through slices and resampling too, at 4 if the
// policy says so for all of them; every other one at 8.
StoredGraph with_copies(const ir::Graph& fused, const BitPolicy& policy,
                        Copies copies = Copies::shared);

// A choice that a policy makes: the bits of a convolution's weights, or of an input of it.
struct Site {
  std::string name;  // as in BitPolicy's maps
  bool weights = false;
  // An input of which some channels may have 8 bits and the others 4 (split.h): one dense
  // convolution reads the tensor itself, and calibration gives it its grid.
  bool has_parts = false;
};
// All of them; every input that may have 4 bits belongs to one. Readers of a tensor have a site
// each, "tensor > convolution"; but one, "tensor", where convolutions alone read it: all in the
// same way (the matte's two), or all through slices and resampling (a GRU's two).
std::vector<Site> sites_of(const ir::Graph& fused);

// Sites of the convolution's segments; empty where an input has no choice.
std::vector<std::string> input_sites(const ir::Graph& fused, const ir::Op& convolution);

// The keys of BitPolicy::activation_bits that choose something.
std::set<std::string> activation_keys(const ir::Graph& fused);

}  // namespace mattec::quant
