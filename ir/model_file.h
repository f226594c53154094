// The .mattec file: a safetensors container whose metadata holds the graph as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/safetensors.h"

namespace mattec::ir {

// Reads and verifies. Throws Error naming the file and the place for anything that is not a whole,
// sound quantized (or fused) graph; never reads outside the file, whatever its header claims.
Graph read_model(const std::string& path);

// The bytes of a file for a sound graph. `path` is for messages.
std::vector<uint8_t> model_bytes(const Graph& graph, const std::string& path);
// Writes beside `path` and renames; on any failure (disk full, ...) nothing is left behind.
void write_model(const Graph& graph, const std::string& path);

// What the file holds. Metadata: "mattec" = format version, "graph" = the graph's structure as
// JSON, "checksum" = 64-bit FNV-1a of all the rest. Arrays of a quantized convolution:
// "<op>.weight" I8 [output][input][row][column] (4-bit weights: U8, two to a byte, the first in the
// low half), "<op>.bias" I32, "<op>.accumulator_scale" F32; of a fused one "<op>.weight" and
// "<op>.bias" F32. A per-channel grid: "<tensor>.scale" F32 and "<tensor>.zero_point" I32.
Container to_container(const Graph& graph);  // of a verified graph
// Verifies, but does not look at the checksum; `path` is for messages.
Graph from_container(const Container& container, const std::string& path);

}  // namespace mattec::ir
