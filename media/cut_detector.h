// Where a film cuts from one scene to another.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "media/image.h"

namespace mattec::media {

// A small grey picture, and of the block that begins at each pixel the sum and variance.
struct BlockPicture {
  Image pixels;
  std::vector<int32_t> sum, variance;  // variance: times the square of a block's pixels
};

// Pixels by the upper three bits of R, G and B.
using ColorCounts = std::array<int32_t, 512>;

// Looks for parts of a frame, and for its colours, in the frames before it. After a cut neither is
// found there; after a blink they are found some frames further back, in a pan at another place,
// and where only the background cuts a part of the subject stays. What comes after black or white
// is never called a cut. In integers: the same answer on every processor. docs/video.md has the
// trial.
class CutDetector {
 public:
  // The next frame, R, G, B, of any size. Says whether the frame *before* it begins a new scene:
  // the one after tells a scene from a flash. The first frame begins none, nor does the last.
  bool previous_begins_scene(const Image& next);

 private:
  struct Thumbnail {
    BlockPicture coarse, fine;
    ColorCounts colors = {};
  };
  static Thumbnail thumbnail_of(const Image& frame);
  bool is_cut(const Thumbnail& frame, const Thumbnail& after) const;

  std::optional<Thumbnail> pending_;  // not decided yet
  std::deque<Thumbnail> seen_;        // before it, of the same scene, the newest at the front
};

}  // namespace mattec::media
