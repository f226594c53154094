// Whole files in memory, defensively.
#pragma once

#include <cstdint>
#include <string>

namespace mattec {

// The bytes of a regular file of at most `most_bytes`. Throws Error naming `path` where it is
// missing, a folder, a device, a pipe, larger, or unreadable; Interrupted.
std::string read_file(const std::string& path, uint64_t most_bytes);

// Of networks and models: the largest here has 15 MB.
constexpr uint64_t most_model_bytes = uint64_t{1} << 31;

}  // namespace mattec
