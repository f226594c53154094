// Exact fractions: time bases, frame rates, shapes of pixels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace mattec::media {

struct Rational {
  int64_t num = 0, den = 1;  // den > 0

  double value() const { return static_cast<double>(num) / static_cast<double>(den); }
  Rational inverse() const { return {den, num}; }  // of one above 0
  bool operator==(const Rational& other) const { return num == other.num && den == other.den; }
  bool operator!=(const Rational& other) const { return !(*this == other); }
};

// "25", "30000/1001", "12.5", in lowest terms. 23.976, 23.98, 29.97, 59.94 and 119.88 are short for
// what television calls so, 24000/1001 and so on. Nothing for any other text, and for 0 and less.
std::optional<Rational> parse_rate(const std::string& text);

// "25", "12.5", "30000/1001".
std::string text_of(const Rational& rate);

}  // namespace mattec::media
