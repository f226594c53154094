// Files of weights alone: which known network they are, and what it needs of them.
#pragma once

#include <string>

#include "frontend/networks.h"
#include "frontend/zip.h"

namespace mattec::frontend {

// A safetensors file in memory. A prefix that all names have ("module.") is taken off. Only the
// arrays that the network needs are converted to float. Throws Error naming the file and the array.
FoundWeights read_safetensors_weights(const std::string& bytes, const std::string& path);

// The network that the weights fill; `path` is for messages.
ir::Graph build_network(const FoundWeights& found, const std::string& path);

// What a zip archive of PyTorch's is.
enum class ArchiveKind { torchscript, state_dict, other };
ArchiveKind kind_of(const ZipArchive& archive);

}  // namespace mattec::frontend
