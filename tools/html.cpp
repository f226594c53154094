#include "tools/html.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace mattec::tools {

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else
      result += c;
  }
  return result;
}

std::string base64(const std::vector<uint8_t>& bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? uint32_t{bytes[i + k]} : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string cell(const std::string& text) { return "<td>" + escaped(text) + "</td>"; }

std::string heading(const std::string& text) { return "<th>" + escaped(text) + "</th>"; }

std::string bar(const std::string& text, double fraction) {
  return fmt::format("<td class=\"bar\" style=\"background-size:{:.1f}% 100%\">{}</td>",
                     100 * fraction, escaped(text));
}

std::string row(const std::vector<std::string>& cells) {
  std::string text = "<tr>";
  for (const std::string& one : cells) text += one;
  return text + "</tr>\n";
}

std::string table(const std::string& rows) { return "<table>\n" + rows + "</table>\n"; }

std::string curve(const std::string& title, const std::vector<std::pair<int, double>>& points) {
  constexpr double width = 560, height = 180, left = 70, top = 30, bottom = 30;
  std::vector<std::pair<int, double>> finite;
  for (const auto& point : points)
    if (std::isfinite(point.second)) finite.push_back(point);
  if (finite.empty()) return "";
  const auto by_value = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto [low, high] = std::minmax_element(finite.begin(), finite.end(), by_value);
  const double steps = std::max(1, finite.back().first - finite.front().first);
  const double span = std::max(high->second - low->second, 1e-30);
  std::string line;
  for (const auto& [step, value] : finite)
    line += fmt::format("{:.1f},{:.1f} ", left + width * (step - finite.front().first) / steps,
                        top + height * (high->second - value) / span);
  const auto label = [](double x, double y, const char* anchor, const std::string& text) {
    return fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\" font-size=\"12\">{}</text>", x,
                       y, anchor, escaped(text));
  };
  return fmt::format(
             "<svg width=\"{0}\" height=\"{1}\" "
             "viewBox=\"0 0 {0} {1}\">\n<rect x=\"{2}\" y=\"{3}\" width=\"{4}\" height=\"{5}\" "
             "fill=\"none\" stroke=\"#bbb\"/>\n<polyline points=\"{6}\" fill=\"none\" "
             "stroke=\"#b04020\" stroke-width=\"1.5\"/>\n",
             left + width + 20, top + height + bottom, left, top, width, height, line) +
         label(left, 18, "start", title) +
         label(left - 6, top + 10, "end", fmt::format("{:.4g}", high->second)) +
         label(left - 6, top + height, "end", fmt::format("{:.4g}", low->second)) +
         label(left, top + height + 18, "start", fmt::format("step {}", finite.front().first)) +
         label(left + width, top + height + 18, "end", std::to_string(finite.back().first)) +
         "\n</svg>\n";
}

}  // namespace mattec::tools
