// Files that hold a checksum of themselves: 64-bit FNV-1a in 16 hexadecimal digits behind a marker,
// over all bytes of the file, these digits counting as '0'. No single wrong byte goes unnoticed:
// each step of FNV-1a maps different states to different ones. No protection against intent.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mattec {

constexpr size_t checksum_digits = 16;

struct Checksum {
  std::string written, computed;  // digits
  bool is_right() const { return written == computed; }
};

// Nothing where `marker` with room for the digits is not there exactly once.
std::optional<Checksum> find_checksum(std::string_view bytes, std::string_view marker);

// Writes the right digits over those that are there, and returns them. Throws std::logic_error
// where find_checksum finds nothing.
std::string seal(char* bytes, size_t size, std::string_view marker);

}  // namespace mattec
