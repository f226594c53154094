// Functional blocks of a network, found by its structure: what is reconstructed together.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::quant {

struct Block {
  std::string name;                  // its last operation's
  std::vector<int> ops;              // indices, ascending
  std::vector<ir::TensorId> inputs;  // made elsewhere in the same frame (states are not)
  // Made here of convolutions, and read elsewhere, or an output or a new state.
  std::vector<ir::TensorId> outputs;
  std::vector<int> states;  // indices of those that it holds
};

// Every operation of a fused or quantized graph is in one block; a block comes after those that it
// reads. Together are: an inverted residual (expansion, depthwise, squeeze-excite, projection); a
// gate and what it gates; a recurrent unit and the dense convolution that it reads; two dense
// convolutions in a row; the network's last convolutions; and whatever would otherwise read each
// other's results. Copies and slices go with what they are made of, resampled tensors with the
// first that reads them.
std::vector<Block> blocks_of(const ir::Graph& graph);

}  // namespace mattec::quant
