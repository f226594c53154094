// What JSON may be before it is parsed: nlohmann's parser has no limits of its own, and needs many
// times the memory of the text.
#pragma once

#include <cstdint>
#include <string>

namespace mattec::ir {

// Headers of networks have 20 to 300 KB, manifests 30 KB.
constexpr uint64_t most_json_bytes = uint64_t{16} << 20;

// Why the text is not parsed ("is nested deeper than 32 levels"), empty where it may be. Looks at
// each byte once; says nothing on whether it is JSON.
std::string json_excess(const char* text, uint64_t size);

}  // namespace mattec::ir
