// The .mattec file: a safetensors container whose metadata holds the graph as JSON.
#pragma once

#include <string>

#include "ir/graph.h"

namespace mattec::ir {

// Reads and verifies. Throws Error naming the file and the place for anything that is not a whole,
// sound quantized (or fused) graph; never reads outside the file, whatever its header claims.
Graph read_model(const std::string& path);

// Writes beside `path` and renames; on any failure (disk full, ...) nothing is left behind.
void write_model(const Graph& graph, const std::string& path);

}  // namespace mattec::ir
