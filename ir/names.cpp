#include "ir/names.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace mattec::ir {
namespace {

constexpr size_t longest_identifier = 64, longest_element_name = 512;

// Not std::isalpha, which depends on the locale.
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_one_of(char c, const char* set) { return c != '\0' && std::strchr(set, c) != nullptr; }

bool consists_of(const std::string& name, const char* others) {
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_letter(c) || is_digit(c) || is_one_of(c, others); });
}

bool starts_well(const std::string& name) {
  return !name.empty() && name.size() <= longest_identifier && is_letter(name[0]);
}

}  // namespace

bool is_identifier(const std::string& name) { return starts_well(name) && consists_of(name, ""); }

bool is_network_name(const std::string& name) {
  return starts_well(name) && consists_of(name, ".-");
}

bool is_element_name(const std::string& name) {
  return !name.empty() && name.size() <= longest_element_name &&
         consists_of(name, " .-/:+#@=()[],>");
}

std::string network_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool is_legal = is_letter(c) || is_digit(c) || is_one_of(c, ".-");
    if (is_legal)
      name += c;
    else if (name.empty() || name.back() != '_')  // one for all bytes of a letter
      name += '_';
  }
  if (name.empty()) return "network";
  if (!is_letter(name[0])) name.insert(0, 1, '_');
  return name.substr(0, longest_identifier);
}

std::string shown_name(const std::string& name) {
  constexpr size_t longest = 80;
  return name.size() <= longest ? printable(name) : printable(name.substr(0, longest)) + "...";
}

}  // namespace mattec::ir
