// The matted subject over another background.
#pragma once

#include <memory>
#include <string>

#include "tools/frame_source.h"
#include "tools/image.h"

namespace mattec::tools {

// What lies behind the subject: one colour, an image, or a video or folder of images that starts
// again when it ends.
class Background {
 public:
  // `text`: "#rrggbb", a colour's name (black, white, gray, red, green, blue, yellow, cyan,
  // magenta), or a path. Covers `size` without distortion. Throws Error.
  Background(const std::string& text, ir::Size size);
  // The background of the next frame.
  const Image& next();

 private:
  std::string path_;  // of a moving background, else empty
  ir::Size size_;
  std::unique_ptr<FrameSource> source_;
  Image frame_, scaled_;
};

// out = (alpha F + (255 - alpha) B) / 255, rounded to nearest, per channel. All of one size;
// `out` may be `foreground`.
void composite(const Image& foreground, const Image& alpha, const Image& background, Image& out);

// The subject's own colours at the frame's size, from the network's at its own: the network says
// how they differ from the frame, and differences survive scaling where detail would not.
// F = clamp(frame + scaled up (network_foreground - network_frame)).
void full_size_foreground(const Image& frame, const Image& network_frame,
                          const Image& network_foreground, Image& out);

}  // namespace mattec::tools
