// The readers: a network file becomes an imported float Graph.
#pragma once

#include <string>

#include "ir/graph.h"

namespace mattec::frontend {

// Reads .torchscript/.pt (any scripted or traced matting network of the supported operations),
// .pth (a PyTorch state dict) or .safetensors (weights); the latter two are recognised by their
// tensor names as a network that networks.h defines. The format is told by content, not by name.
// Batch normalisation is folded, constants are folded, the result is verified. The three ways give
// structurally equal graphs. No pickled code is ever executed.
// Throws Error naming the file and what is wrong with it.
ir::Graph read_network(const std::string& path);

}  // namespace mattec::frontend
