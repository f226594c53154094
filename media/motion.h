// Movement for pictures that have none.
#pragma once

#include "base/random.h"
#include "media/image.h"

namespace mattec::media {

// The motion that Robust Video Matting's evaluation gives to single mattes
// (evaluation/generate_imagematte_with_background_video.py): an affine map that changes evenly
// from one random pose to (part of the way to) another.
class Motion {
 public:
  // Rotation and shear within 10 and 5 degrees either way, shift within a tenth of the picture,
  // scale 0.9 .. 1.1, about the middle.
  explicit Motion(Random& random);

  // `moment`: 0 at a clip's first frame, 1 at its last. Bilinear. What comes in from outside the
  // picture is 0 in mattes (1 channel) and the nearest colour in frames (3 channels), so that
  // half-transparent borders do not darken.
  void move(const Image& picture, double moment, Image& moved) const;

 private:
  struct Pose {
    double angle, shear;      // radians
    double shift_x, shift_y;  // of width and height
    double scale;
  };
  static Pose random_pose(Random& random);
  Pose from_, to_;
  double extent_;  // the part of the way that is gone, 0 .. 1
};

}  // namespace mattec::media
