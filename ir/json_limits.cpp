#include "ir/json_limits.h"

namespace mattec::ir {

std::string json_excess(const char* text, uint64_t size) {
  // Headers and manifests nest 6 deep; RVM's graph has 8000 values.
  constexpr int most_levels = 32;
  constexpr uint64_t most_values = uint64_t{1} << 20;
  if (size > most_json_bytes)
    return "has " + std::to_string(size) + " bytes, more than " + std::to_string(most_json_bytes);
  int levels = 0;
  uint64_t values = 1;
  bool is_inside_text = false;
  for (uint64_t i = 0; i < size; ++i) {
    const char c = text[i];
    if (is_inside_text) {
      if (c == '\\') ++i;
      is_inside_text = c != '"';
      continue;
    }
    is_inside_text = c == '"';
    if (c == '[' || c == '{') ++levels;
    if (c == ']' || c == '}') --levels;
    if (c == '[' || c == '{' || c == ',') ++values;
    if (levels > most_levels)
      return "is nested deeper than " + std::to_string(most_levels) + " levels";
    if (values > most_values) return "has more than " + std::to_string(most_values) + " values";
  }
  return "";
}

}  // namespace mattec::ir
