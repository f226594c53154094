#include "tools/clip_matter.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/note.h"

namespace mattec::tools {
namespace {

using Clock = std::chrono::steady_clock;

// A size of as many pixels as `network`'s, of the clip's shape, in steps of what four halvings
// divide.
ir::Size better_size(const media::Fit& fit) {
  constexpr int step = 16;
  const double shape = static_cast<double>(fit.inner.width) / fit.inner.height;
  const double pixels = static_cast<double>(fit.outer.width) * fit.outer.height;
  const auto rounded = [](double length) {
    return step * std::max(1, static_cast<int>(std::lround(length / step)));
  };
  return {rounded(std::sqrt(pixels / shape)), rounded(std::sqrt(pixels * shape))};
}

}  // namespace

ClipMatter::ClipMatter(const Model& model, const media::Clip& clip, const RunOptions& options)
    : model_(model), kind_(options.kind), pixel_shape_(clip.pixel_shape) {
  fit_to(clip.size);
  if (kind_ == OutputKind::composite)
    background_ = std::make_unique<media::Background>(options.background, clip);
  if (kind_ != OutputKind::alpha && !model.has_foreground())
    note("the network gives no foreground; the frame's own colours stand in for the subject's");
}

void ClipMatter::fit_to(ir::Size size) {
  if (size == frame_size_) return;
  frame_size_ = size;
  const ir::Size network = model_.size_for(size);
  if (!engine_ || network != fit_.outer) engine_ = model_.start(network);
  fit_ = media::fit(size, pixel_shape_, network);
  if (fit_.padding() <= 1.0 / 3 || has_noted_padding_) return;
  has_noted_padding_ = true;
  const std::string better = size_text(better_size(fit_));
  note(
      fmt::format("{:.0f} % of the network's {} are padding around frames of this shape; "
                  "a library compiled with --size {} sees more of them",
                  100 * fit_.padding(), size_text(network), better));
}

void ClipMatter::fit(const media::Image& frame, media::Image& fitted) {
  fit_to(frame.size);
  media::scale_into(frame, fit_, fitted);
}

void ClipMatter::step(const media::Image& frame, const media::Image& fitted, bool with_foreground) {
  fit_to(frame.size);
  const Clock::time_point start = Clock::now();
  engine_->step(fitted, network_alpha_, with_foreground ? &network_foreground_ : nullptr);
  network_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
}

void ClipMatter::warm_up(const media::Image& frame, const media::Image& fitted) {
  step(frame, fitted, false);
}

const media::Image& ClipMatter::foreground(const media::Image& frame, const media::Image& fitted) {
  if (!model_.has_foreground()) return frame;
  media::crop(fitted, fit_, inner_frame_);
  media::crop(network_foreground_, fit_, inner_foreground_);
  media::full_size_foreground(frame, inner_frame_, inner_foreground_, foreground_);
  return foreground_;
}

const media::Image& ClipMatter::matte(const media::Image& frame, const media::Image& fitted,
                                      double seconds) {
  step(frame, fitted, kind_ != OutputKind::alpha && model_.has_foreground());
  if (kind_ == OutputKind::foreground) return foreground(frame, fitted);
  media::crop(network_alpha_, fit_, inner_);
  media::scale(inner_, frame.size, alpha_);
  if (kind_ == OutputKind::alpha) return alpha_;
  if (kind_ == OutputKind::rgba)
    media::join_alpha(foreground(frame, fitted), alpha_, result_);
  else
    media::composite(foreground(frame, fitted), alpha_, background_->at(seconds), result_);
  return result_;
}

}  // namespace mattec::tools
