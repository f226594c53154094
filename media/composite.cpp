#include "media/composite.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "base/text.h"
#include "media/opencv_view.h"
#include "media/scale.h"

namespace mattec::media {
namespace {

// CSS Color Module Level 4, the ones that people type.
const std::map<std::string, uint32_t>& color_names() {
  static const std::map<std::string, uint32_t> names = {
      {"aqua", 0x00ffff},      {"black", 0x000000},  {"blue", 0x0000ff},    {"brown", 0xa52a2a},
      {"coral", 0xff7f50},     {"cyan", 0x00ffff},   {"fuchsia", 0xff00ff}, {"gold", 0xffd700},
      {"gray", 0x808080},      {"green", 0x00ff00},  {"grey", 0x808080},    {"indigo", 0x4b0082},
      {"ivory", 0xfffff0},     {"lime", 0x00ff00},   {"magenta", 0xff00ff}, {"maroon", 0x800000},
      {"navy", 0x000080},      {"olive", 0x808000},  {"orange", 0xffa500},  {"pink", 0xffc0cb},
      {"purple", 0x800080},    {"red", 0xff0000},    {"silver", 0xc0c0c0},  {"teal", 0x008080},
      {"turquoise", 0x40e0d0}, {"violet", 0xee82ee}, {"white", 0xffffff},   {"yellow", 0xffff00}};
  return names;
}

Image filled(ir::Size size, uint32_t color) {
  Image image(size, 3);
  for (size_t i = 0; i < image.pixels.size(); i += 3)
    for (size_t c = 0; c < 3; ++c)
      image.pixels[i + c] = static_cast<uint8_t>(color >> (16 - 8 * c));
  return image;
}

// Neither a colour nor a file: what it may have been meant to be.
[[noreturn]] void refuse(const std::string& text) {
  std::vector<std::string> names;
  for (const auto& each : color_names()) names.push_back(each.first);
  const std::string near = nearest(text, names);
  throw UsageError(
      fmt::format("--composite {}: neither a colour nor a file or folder{}; write "
                  "#rrggbb, a colour's name, or the path of an image or video",
                  text.empty() ? "''" : text, near.empty() ? "" : " (is it " + near + "?)"));
}

}  // namespace

std::optional<uint32_t> parse_color(const std::string& text) {
  const auto named = color_names().find(lower_case(text));
  if (named != color_names().end()) return named->second;
  if (text.empty() || text[0] != '#') return std::nullopt;
  const bool hexadecimal = std::all_of(text.begin() + 1, text.end(),
                                       [](unsigned char c) { return std::isxdigit(c) != 0; });
  std::string digits = text.substr(1);
  if (digits.size() == 3)
    digits = {digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]};
  if (digits.size() != 6 || !hexadecimal)
    throw UsageError(text + ": is no colour; write #rrggbb, for example #00ff00");
  return static_cast<uint32_t>(std::stoul(digits, nullptr, 16));
}

Background::Background(const std::string& text, const Clip& clip) : clip_(clip) {
  if (const std::optional<uint32_t> color = parse_color(text)) {
    scaled_ = filled(clip.size, *color);
    return;
  }
  if (text == "-") throw UsageError("--composite: a background cannot come from standard input");
  std::error_code error;
  if (text.empty() ||
      (text.find("://") == std::string::npos && !std::filesystem::exists(text, error)))
    refuse(text);
  options_.rate = clip.rate;
  path_ = text;
  source_ = open_source(path_, options_);
  is_still_ = is_image_name(path_) && !std::filesystem::is_directory(path_, error);
  read_ahead();
}

// False at the end of a still picture.
bool Background::read_ahead() {
  if (!source_->next(ahead_)) {
    if (is_still_) return false;
    round_ += ahead_end_;
    source_ = open_source(path_, options_);
    if (!source_->next(ahead_)) throw Error(path_ + ": cannot be read a second time");
  }
  const FrameLabel& label = source_->label();
  const double tick = source_->clip().time_base.value();
  ahead_time_ = round_ + static_cast<double>(label.start) * tick;
  ahead_end_ = static_cast<double>(label.start + label.duration) * tick;
  has_ahead_ = true;
  return true;
}

void Background::show_ahead() {
  cover(ahead_, clip_.size, scaled_);
  has_ahead_ = false;
  has_shown_ = true;
}

const Image& Background::at(double seconds) {
  if (!source_) return scaled_;
  // Of frames that are due only the last one is scaled.
  constexpr double slack = 1e-6;
  while (has_ahead_ || read_ahead()) {
    if (ahead_time_ > seconds + slack && has_shown_) break;
    Image due = std::move(ahead_);
    has_ahead_ = false;
    const bool is_last = !read_ahead() || ahead_time_ > seconds + slack;
    if (!is_last) continue;
    cover(due, clip_.size, scaled_);
    has_shown_ = true;
    break;
  }
  return scaled_;
}

const Image& Background::next() {
  if (!source_) return scaled_;
  if (has_ahead_ || read_ahead()) show_ahead();
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

void join_alpha(const Image& foreground, const Image& alpha, Image& out) {
  out.reset(alpha.size, 4);
  cv::Mat target = view(out);
  const cv::Mat parts[] = {view(foreground), view(alpha)};
  const int from_to[] = {0, 0, 1, 1, 2, 2, 3, 3};
  cv::mixChannels(parts, 2, &target, 1, from_to, 4);
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

}  // namespace mattec::media
