#include "tools/composite.h"

#include <cctype>
#include <map>
#include <opencv2/imgproc.hpp>
#include <optional>

#include "ir/error.h"
#include "tools/opencv_view.h"
#include "tools/scale.h"

namespace mattec::tools {
namespace {

std::optional<uint32_t> parse_color(const std::string& text) {
  static const std::map<std::string, uint32_t> names = {
      {"black", 0x000000}, {"white", 0xffffff},  {"gray", 0x808080}, {"grey", 0x808080},
      {"red", 0xff0000},   {"green", 0x00ff00},  {"blue", 0x0000ff}, {"yellow", 0xffff00},
      {"cyan", 0x00ffff},  {"magenta", 0xff00ff}};
  const auto named = names.find(text);
  if (named != names.end()) return named->second;
  if (text.empty() || text[0] != '#') return std::nullopt;
  const bool hexadecimal = std::all_of(text.begin() + 1, text.end(),
                                       [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (text.size() != 7 || !hexadecimal)
    throw Error(text + ": is no colour; write #rrggbb, for example #00ff00");
  return static_cast<uint32_t>(std::stoul(text.substr(1), nullptr, 16));
}

Image filled(ir::Size size, uint32_t color) {
  Image image(size, 3);
  for (size_t i = 0; i < image.pixels.size(); i += 3)
    for (size_t c = 0; c < 3; ++c)
      image.pixels[i + c] = static_cast<uint8_t>(color >> (16 - 8 * c));
  return image;
}

}  // namespace

Background::Background(const std::string& text, ir::Size size) : size_(size) {
  if (const std::optional<uint32_t> color = parse_color(text)) {
    scaled_ = filled(size, *color);
    return;
  }
  if (text == "-") throw Error("--composite: a background cannot come from standard input");
  source_ = open_source(text, {});
  path_ = text;
}

const Image& Background::next() {
  if (!source_) return scaled_;
  if (!source_->next(frame_)) {
    if (is_image_name(path_)) return scaled_;  // a still picture: scaled once, kept
    source_ = open_source(path_, {});
    if (!source_->next(frame_)) throw Error(path_ + ": cannot be read a second time");
  }
  cover(frame_, size_, scaled_);
  return scaled_;
}

void composite(const Image& foreground, const Image& alpha, const Image& background, Image& out) {
  out.reset(foreground.size, 3);
  for (size_t i = 0; i < alpha.pixels.size(); ++i) {
    const uint32_t a = alpha.pixels[i];
    for (size_t c = 3 * i; c < 3 * i + 3; ++c)
      out.pixels[c] = static_cast<uint8_t>(
          (a * foreground.pixels[c] + (255 - a) * background.pixels[c] + 127) / 255);
  }
}

void full_size_foreground(const Image& frame, const Image& network_frame,
                          const Image& network_foreground, Image& out) {
  if (frame.size == network_frame.size) {
    out = network_foreground;
    return;
  }
  cv::Mat difference, full;
  cv::subtract(view(network_foreground), view(network_frame), difference, cv::noArray(), CV_16S);
  cv::resize(difference, full, cv::Size(frame.size.width, frame.size.height), 0, 0,
             cv::INTER_LINEAR);
  out.reset(frame.size, 3);
  cv::Mat result = view(out);
  cv::add(view(frame), full, result, cv::noArray(), CV_8U);
}

}  // namespace mattec::tools
