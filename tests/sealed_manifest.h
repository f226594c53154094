// Manifests of hand-made libraries.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/checksum.h"
#include "targets/checksums.h"
#include "tests/scratch.h"

namespace mattec::tools {

// The entries given, and the checksums that belong to the library.
inline void write_manifest(const std::string& file, nlohmann::ordered_json entries,
                           const std::string& library) {
  entries["archive_checksum"] =
      find_checksum(read_bytes(library), targets::archive_marker)->written;
  entries["checksum"] = std::string(checksum_digits, '0');
  std::string text = entries.dump(1) + "\n";
  seal(text.data(), text.size(), targets::manifest_marker);
  write_bytes(file, text);
}

}  // namespace mattec::tools
