// JSON on standard output.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace mattec::tools {

// File names may have bytes that are no UTF-8; JSON may not.
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace mattec::tools
