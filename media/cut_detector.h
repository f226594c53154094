// Where a film cuts from one scene to another.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "media/image.h"

namespace mattec::media {

// Looks for parts of a frame in the frames before it. After a cut hardly any is found there; after
// a flash, a blink or a blackout they are found a few frames further back, in a pan at another
// place.
class CutDetector {
 public:
  // Frames one after the other, R, G, B of any one size. Says whether the frame before the given
  // one begins a new scene: it takes the next one to tell a scene from a flash. The first frame is
  // none.
  bool previous_begins_scene(const Image& frame);
  // The same of the last frame, after which none comes.
  bool last_begins_scene();

 private:
  // Luminance, small.
  struct Thumbnail {
    std::vector<float> pixels;
  };
  static Thumbnail thumbnail_of(const Image& frame);
  static double share_found(const Thumbnail& frame, const Thumbnail& in);
  bool decide(const Thumbnail* after);

  std::deque<Thumbnail> seen_;  // the last frames, the newest at the back
};

}  // namespace mattec::media
