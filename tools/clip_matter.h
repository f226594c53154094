// Frames of any size through a network of one size, and what is made of its matte.
#pragma once

#include <memory>
#include <string>

#include "media/composite.h"
#include "media/scale.h"
#include "tools/engine.h"
#include "tools/run_clip.h"

namespace mattec::tools {

// One frame at a time, in memory that is kept from frame to frame.
class ClipMatter {
 public:
  // `clip`: of the input. Throws Error.
  ClipMatter(const Model& model, const media::Clip& clip, const RunOptions& options);

  // The frame at the network's size.
  void fit(const media::Image& frame, media::Image& fitted);
  // What options.kind asks for, at the frame's size. `seconds`: when it is shown.
  const media::Image& matte(const media::Image& frame, const media::Image& fitted, double seconds);
  // Makes nothing of the matte: the network's states alone go on.
  void warm_up(const media::Image& frame, const media::Image& fitted);
  // A new clip begins with the next frame.
  void reset() { engine_->reset(); }

  ir::Size network_size() const { return fit_.outer; }
  double network_seconds() const { return network_seconds_; }

 private:
  void fit_to(ir::Size size);
  void step(const media::Image& frame, const media::Image& fitted, bool with_foreground);
  const media::Image& foreground(const media::Image& frame, const media::Image& fitted);

  const Model& model_;
  OutputKind kind_;
  media::Rational pixel_shape_;
  ir::Size frame_size_;
  media::Fit fit_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<media::Background> background_;
  media::Image network_alpha_, network_foreground_, inner_, inner_frame_, inner_foreground_, alpha_,
      foreground_, result_;
  double network_seconds_ = 0;
  bool has_noted_padding_ = false;
};

}  // namespace mattec::tools
