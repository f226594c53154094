// Painted surfaces of the generated clips: noise, stripes and objects.
#pragma once

#include <vector>

#include "base/random.h"

namespace mattec::nano {

struct Colour {
  float r = 0, g = 0, b = 0;  // 0 .. 255
};
inline Colour mix(const Colour& x, const Colour& y, float t) {
  return {x.r + (y.r - x.r) * t, x.g + (y.g - x.g) * t, x.b + (y.b - x.b) * t};
}
inline Colour scaled(const Colour& c, float factor) {
  return {c.r * factor, c.g * factor, c.b * factor};
}
Colour random_colour(Random& random);

class Texture {
 public:
  // `unit` is the pixel count that features scale with, so that a clip looks alike at every size.
  // `objects`: how many rectangles and ellipses lie on it.
  Texture(Random& random, int width, int height, double unit, int objects);

  int width() const { return width_; }
  int height() const { return height_; }
  // Bilinear between pixel centres; coordinates outside repeat mirrored.
  Colour sample(double x, double y) const;

 private:
  void paint_noise(Random& random, double unit);
  void paint_object(Random& random, double unit);

  int width_, height_;
  std::vector<Colour> pixels_;
};

}  // namespace mattec::nano
