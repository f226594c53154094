// What `mattec inspect` shows of compiled libraries.
#pragma once

#include <string>

namespace mattec::tools {

// `path`: a library or a folder of them. Prints sizes (text, weights, arena, stack), undefined
// symbols, and per kernel its schedule and its dot products; as one JSON object if `json`.
// Throws Error.
void inspect_libraries(const std::string& path, bool json);

}  // namespace mattec::tools
