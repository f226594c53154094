#include "media/rational.h"

#include <numeric>
#include <utility>

namespace mattec::media {
namespace {

constexpr int64_t largest = 1'000'000'000;

constexpr std::pair<const char*, int64_t> television_rates[] = {
    {"23.976", 24}, {"23.98", 24}, {"29.97", 30}, {"59.94", 60}, {"119.88", 120}};

// Digits alone, 1 .. `largest`.
std::optional<int64_t> parse_count(const std::string& text) {
  if (text.empty() || text.size() > 10) return std::nullopt;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = 10 * value + (c - '0');
  }
  if (value < 1 || value > largest) return std::nullopt;
  return value;
}

Rational reduced(int64_t num, int64_t den) {
  const int64_t common = std::gcd(num, den);
  return {num / common, den / common};
}

}  // namespace

std::optional<Rational> parse_rate(const std::string& text) {
  for (const auto& [shorthand, rate] : television_rates)
    if (text == shorthand) return Rational{rate * 1000, 1001};
  const size_t slash = text.find('/'), point = text.find('.');
  if (slash != std::string::npos) {
    const auto num = parse_count(text.substr(0, slash)), den = parse_count(text.substr(slash + 1));
    if (!num || !den) return std::nullopt;
    return reduced(*num, *den);
  }
  if (point == std::string::npos) {
    const auto whole = parse_count(text);
    return whole ? std::optional<Rational>({*whole, 1}) : std::nullopt;
  }
  int64_t den = 1;
  for (size_t i = point + 1; i < text.size() && den < largest; ++i) den *= 10;
  const auto num = parse_count(text.substr(0, point) + text.substr(point + 1));
  if (!num || den == 1) return std::nullopt;
  return reduced(*num, den);
}

std::string text_of(const Rational& rate) {
  if (rate.den == 1) return std::to_string(rate.num);
  int64_t power = 10;
  for (int digits = 1; digits <= 3; ++digits, power *= 10)
    if (power % rate.den == 0) {
      std::string text = std::to_string(rate.num * (power / rate.den));
      while (text.size() <= static_cast<size_t>(digits)) text.insert(text.begin(), '0');
      text.insert(text.size() - static_cast<size_t>(digits), ".");
      return text;
    }
  return std::to_string(rate.num) + "/" + std::to_string(rate.den);
}

}  // namespace mattec::media
