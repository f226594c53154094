#include "base/text.h"

#include <algorithm>
#include <cstdint>

namespace mattec {
namespace {

// Bytes of the UTF-8 character at `at` (RFC 3629: no overlong forms, no surrogates); 0 = none.
size_t character_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const uint8_t first = byte(at);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  uint32_t code = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(at + i) & 0x3f);
  }
  constexpr uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool valid = first >= 0xc2 && first <= 0xf4 && code >= smallest[length] &&
                     code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return valid ? length : 0;
}

bool is_control(const std::string& text, size_t at, size_t length) {
  const auto first = static_cast<uint8_t>(text[at]);
  if (length == 1) return first < 0x20 || first == 0x7f;
  return length == 2 && first == 0xc2 && static_cast<uint8_t>(text[at + 1]) < 0xa0;  // C1
}

// Optimal string alignment (Damerau-Levenshtein with each letter moved once).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, changed});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string printable(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string safe;
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    if (length > 0 && !is_control(text, at, length)) {
      safe.append(text, at, length);
      at += length;
      continue;
    }
    for (size_t i = 0; i < std::max<size_t>(length, 1); ++i, ++at) {
      const auto byte = static_cast<uint8_t>(text[at]);
      safe += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return safe;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  constexpr size_t longest = 64;  // the cost is quadratic
  std::string best;
  size_t least = longest;
  if (word.size() > longest) return best;
  for (const std::string& candidate : candidates) {
    const size_t apart = distance(lower_case(word), lower_case(candidate));
    if (apart >= least || 3 * apart > std::max(candidate.size(), word.size())) continue;
    least = apart;
    best = candidate;
  }
  return best;
}

std::string hint_at_nearest(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string found = nearest(word, candidates);
  return found.empty() ? found : "; the nearest is \"" + found + "\"";
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

}  // namespace mattec
