// The manifest that lies beside a compiled library: <name>.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace mattec::tools {

// Of the library `path` = FOLDER/lib<name>.a, whose checksum is `archive_checksum`:
// FOLDER/<name>.json. Null if there is none (a library works without). Throws Error where it is
// there but damaged, or not the one that was written with the library.
nlohmann::ordered_json read_manifest(const std::string& path, const std::string& archive_checksum);

}  // namespace mattec::tools
