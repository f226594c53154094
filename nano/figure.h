// The figure of the generated clips: its build, and its pose at a moment.
#pragma once

#include <array>
#include <vector>

#include "base/random.h"
#include "nano/texture.h"

namespace mattec::nano {

struct Point {
  double x = 0, y = 0;
};

enum class Material { cloth, trousers, skin, hair, eye };

// A limb: the points within a radius of a line, the radius running from one end to the other.
struct Limb {
  Point from, to;
  double from_radius = 0, to_radius = 0;
  Material material = Material::cloth;
};

// A strand of hair: a soft curve that thins out.
struct Strand {
  std::array<Point, 7> points;
  double width = 1;    // pixels, at the root
  double opacity = 1;  // at the root
};

struct Pose {
  std::vector<Limb> behind;     // painted before the strands
  std::vector<Strand> strands;  // painted between
  std::vector<Limb> before;     // painted after the strands, in this order
  Point body;                   // what the texture of the clothes moves with
};

class Figure {
 public:
  Figure(Random& random, int width, int height);
  // `seconds` since the clip's start. Every motion is periodic, so the figure never leaves.
  Pose pose(double seconds) const;
  Colour colour(Material material) const;
  double edge() const { return edge_; }      // pixels over which an outline fades
  double wobble() const { return wobble_; }  // pixels by which outlines of clothes wander

 private:
  struct Swing {  // amplitude * sin(rate * t + phase)
    double amplitude = 0, rate = 0, phase = 0;
    double at(double seconds) const;
  };
  struct Lock {  // one strand: where it grows and how it falls
    double angle = 0, length = 0, curl = 0, width = 0, opacity = 0, phase = 0;
  };
  static Swing random_swing(Random& random, double largest);
  void add_locks(Random& random);
  void add_arm(const Point& shoulder, int side, double seconds, Pose& pose) const;
  Strand strand(const Lock& lock, const Point& head, double tilt, double seconds) const;

  double unit_ = 1;
  double head_ = 1;  // radius of the head, pixels; the rest is measured in it
  Point home_;
  double edge_ = 1, wobble_ = 0;
  bool arms_ = true;
  double shoulder_width_ = 1, waist_ = 1;
  Swing sway_x_, sway_y_, nod_, breath_;
  std::array<Swing, 2> elbow_, hand_;
  std::array<double, 2> elbow_rest_{}, hand_rest_{};
  std::vector<Lock> locks_;
  Colour skin_, hair_, cloth_, trousers_;
};

}  // namespace mattec::nano
