#include "base/checksum.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "base/fnv1a.h"

namespace mattec {
namespace {

std::optional<size_t> find_digits(std::string_view bytes, std::string_view marker) {
  const size_t at = bytes.find(marker);
  if (at == std::string_view::npos || bytes.find(marker, at + 1) != std::string_view::npos)
    return std::nullopt;
  const size_t digits = at + marker.size();
  if (bytes.size() - digits < checksum_digits) return std::nullopt;
  return digits;
}

std::string hexadecimal(uint64_t value) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text(checksum_digits, '0');
  for (size_t i = checksum_digits; i-- > 0; value >>= 4) text[i] = digits[value & 15];
  return text;
}

std::string checksum_of(std::string_view bytes, size_t digits) {
  const std::string zeros(checksum_digits, '0');
  const std::string_view after = bytes.substr(digits + checksum_digits);
  uint64_t hash = fnv1a(bytes.data(), digits);
  hash = fnv1a(zeros.data(), zeros.size(), hash);
  return hexadecimal(fnv1a(after.data(), after.size(), hash));
}

}  // namespace

std::optional<Checksum> find_checksum(std::string_view bytes, std::string_view marker) {
  const std::optional<size_t> digits = find_digits(bytes, marker);
  if (!digits) return std::nullopt;
  return Checksum{std::string(bytes.substr(*digits, checksum_digits)), checksum_of(bytes, *digits)};
}

std::string seal(char* bytes, size_t size, std::string_view marker) {
  const std::optional<size_t> digits = find_digits({bytes, size}, marker);
  if (!digits) throw std::logic_error("nowhere to write a checksum");
  std::string checksum = checksum_of({bytes, size}, *digits);
  std::copy(checksum.begin(), checksum.end(), bytes + *digits);
  return checksum;
}

}  // namespace mattec
