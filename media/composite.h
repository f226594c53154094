// The matted subject over another background.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "media/frame_source.h"
#include "media/image.h"

namespace mattec::media {

// "#rrggbb", "#rgb", or a name that CSS has (16 basic colours and some more), capitals or not:
// 0xrrggbb. Nothing for other texts. Throws UsageError for "#" and anything else.
std::optional<uint32_t> parse_color(const std::string& text);

// What lies behind the subject: one colour, an image, or a video or folder of images that starts
// again when it ends.
class Background {
 public:
  // `text`: a colour, or a path. Covers frames of the clip without distortion. A folder of images
  // plays at the clip's rate. Throws Error, and UsageError for what is neither.
  Background(const std::string& text, const Clip& clip);
  // What is shown `seconds` after the clip's start, not before what was shown last.
  const Image& at(double seconds);
  // Frame by frame, whatever its rate.
  const Image& next();

 private:
  bool read_ahead();
  void show_ahead();

  std::string path_;  // of a moving background, else empty
  SourceOptions options_;
  Clip clip_;
  std::unique_ptr<FrameSource> source_;
  Image ahead_, scaled_;
  bool has_ahead_ = false, has_shown_ = false, is_still_ = false;
  double ahead_time_ = 0;  // when ahead_ is to be shown
  double round_ = 0;       // when the source began for the last time
  double ahead_end_ = 0;   // of ahead_, within the source
};

// out = (alpha F + (255 - alpha) B) / 255, rounded to nearest, per channel. All of one size;
// `out` may be `foreground`.
void composite(const Image& foreground, const Image& alpha, const Image& background, Image& out);

// Four channels from a foreground's three and its alpha.
void join_alpha(const Image& foreground, const Image& alpha, Image& out);

// The subject's own colours at the frame's size, from the network's at its own: the network says
// how they differ from the frame, and differences survive scaling where detail would not.
// F = clamp(frame + scaled up (network_foreground - network_frame)).
void full_size_foreground(const Image& frame, const Image& network_frame,
                          const Image& network_foreground, Image& out);

}  // namespace mattec::media
