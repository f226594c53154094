// What is known of a clip beside its pixels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ir/sizes.h"
#include "media/rational.h"

namespace mattec::media {

class Sound;

// Which colours the numbers R, G, B stand for, by the codes of ITU-T H.273; 2 = not said. They go
// from a clip to what is made of it.
struct ColorTags {
  int primaries = 2, transfer = 2;
};

struct Clip {
  ir::Size size;                           // of the frames as they are shown, upright
  Rational rate = {25, 1};                 // frames a second, in the mean
  Rational time_base = {1, 25};            // seconds, of frame times
  Rational pixel_shape = {1, 1};           // width over height of a pixel
  std::optional<int64_t> expected_frames;  // as far as known; a file's header may be wrong
  bool is_live = false;                    // a camera, a stream: ends when somebody ends it
  ColorTags colors;
  std::shared_ptr<Sound> sound;  // null where there is none or none is wanted

  // A frame begins at a moment where it begins less than this (s) before or after: moments are
  // decimals, ticks are fractions.
  double slack() const { return std::min(time_base.value() / 2, 5e-4); }

  Clip() = default;
  Clip(ir::Size frame_size, const Rational& frame_rate)
      : size(frame_size), rate(frame_rate), time_base(frame_rate.inverse()) {}
};

// A frame's name and when it is shown, in ticks of its clip's time base. From the clip's start; of
// a part of a clip (SourceOptions::begin) from its first wanted frame.
struct FrameLabel {
  std::string name;
  int64_t start = 0;
  int64_t duration = 1;
  bool is_warm_up = false;  // lies before what is wanted
};

}  // namespace mattec::media
