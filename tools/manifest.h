// The manifest that lies beside a compiled library: <name>.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace mattec::tools {

// Of the library `path` = FOLDER/lib<name>.a: FOLDER/<name>.json. Null if there is none (a library
// works without). Throws Error where it is there but no JSON object.
nlohmann::ordered_json read_manifest(const std::string& path);

}  // namespace mattec::tools
