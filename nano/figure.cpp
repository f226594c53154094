#include "nano/figure.h"

#include <algorithm>
#include <cmath>

namespace mattec::nano {
namespace {

Colour skin_colour(Random& random) {
  const Colour pale{250, 220, 195}, dark{92, 58, 40};
  return scaled(mix(pale, dark, static_cast<float>(random.uniform(0, 1))),
                static_cast<float>(random.uniform(0.85, 1.0)));
}

Colour hair_colour(Random& random) {
  constexpr std::array<Colour, 6> colours{
      {{22, 18, 16}, {50, 33, 22}, {92, 60, 34}, {190, 150, 90}, {128, 52, 24}, {165, 162, 158}}};
  return scaled(colours[static_cast<size_t>(random.below(6))],
                static_cast<float>(random.uniform(0.7, 1.2)));
}

Point polar(const Point& from, double angle, double length) {
  return {from.x + length * std::cos(angle), from.y + length * std::sin(angle)};
}

}  // namespace

double Figure::Swing::at(double seconds) const {
  return amplitude * std::sin(rate * seconds + phase);
}

Figure::Swing Figure::random_swing(Random& random, double largest) {
  Swing swing;
  swing.amplitude = random.uniform(0.1, 1) * largest;
  swing.rate = random.uniform(0.8, 5);
  swing.phase = random.uniform(0, 2 * M_PI);
  return swing;
}

Figure::Figure(Random& random, int width, int height) {
  unit_ = std::min(width, height);
  head_ = random.uniform(0.09, 0.2) * unit_;
  home_ = {width * random.uniform(0.32, 0.68),
           std::max(1.6 * head_, height * 0.2) + random.uniform(0, 0.16) * unit_};
  edge_ = 0.8 + random.uniform(0.001, 0.014) * unit_;
  wobble_ = random.uniform(0, 0.012) * unit_;
  arms_ = random.chance(0.7);
  shoulder_width_ = random.uniform(1.3, 1.9);
  waist_ = random.uniform(1.1, 1.5);
  sway_x_ = random_swing(random, 0.14 * unit_);
  sway_y_ = random_swing(random, 0.04 * unit_);
  nod_ = random_swing(random, 0.25);
  breath_ = random_swing(random, 0.06);
  for (size_t side = 0; side < 2; ++side) {
    elbow_[side] = random_swing(random, 0.6);
    hand_[side] = random_swing(random, 0.9);
    elbow_rest_[side] = random.uniform(-0.2, 0.9);
    hand_rest_[side] = random.uniform(-1.8, 0.4);
  }
  skin_ = skin_colour(random);
  hair_ = hair_colour(random);
  cloth_ = random_colour(random);
  trousers_ = random_colour(random);
  add_locks(random);
}

// Hair of one style: a few or many strands, short or long, straight or curled.
void Figure::add_locks(Random& random) {
  const int count = 30 + random.below(90);
  const double longest = random.uniform(0.3, 1.7), curl = random.uniform(0, 1.2);
  const double width = 0.7 + random.uniform(0.001, 0.007) * unit_;
  for (int i = 0; i < count; ++i) {
    Lock lock;
    lock.angle = random.uniform(-M_PI - 0.35, 0.35);  // the upper side, ear to ear
    lock.length = random.uniform(0.2, 1) * longest;
    lock.curl = random.uniform(-1, 1) * curl;
    lock.width = width * random.uniform(0.6, 1.3);
    lock.opacity = random.uniform(0.45, 1);
    lock.phase = random.uniform(0, 2 * M_PI);
    locks_.push_back(lock);
  }
}

// Grows outwards from the head, bends towards the ground, and waves with the swaying.
Strand Figure::strand(const Lock& lock, const Point& head, double tilt, double seconds) const {
  Strand strand;
  strand.width = lock.width;
  strand.opacity = lock.opacity;
  double direction = lock.angle + tilt;
  Point at = polar(head, direction, 0.9 * head_);
  const double step = lock.length * head_ / (strand.points.size() - 1.0);
  const double wave = 0.16 * std::sin(2.3 * seconds + lock.phase);
  for (Point& point : strand.points) {
    point = at;
    // Turns towards straight down, the faster the more sideways it points.
    direction += 0.28 * std::cos(direction) + 0.3 * lock.curl + wave;
    at = polar(at, direction, step);
  }
  return strand;
}

void Figure::add_arm(const Point& shoulder, int side, double seconds, Pose& pose) const {
  const auto s = static_cast<size_t>(side);
  const double outward = side == 0 ? 1 : -1;  // angles mirror on the other side
  const double upper = M_PI / 2 + outward * (elbow_rest_[s] + elbow_[s].at(seconds));
  const double lower = upper + outward * (hand_rest_[s] + hand_[s].at(seconds));
  const Point elbow = polar(shoulder, upper, 1.9 * head_);
  const Point hand = polar(elbow, lower, 1.6 * head_);
  pose.before.push_back({shoulder, elbow, 0.55 * head_, 0.42 * head_, Material::cloth});
  pose.before.push_back({elbow, hand, 0.42 * head_, 0.3 * head_, Material::cloth});
  pose.before.push_back(
      {hand, polar(hand, lower, 0.35 * head_), 0.3 * head_, 0.24 * head_, Material::skin});
}

Pose Figure::pose(double seconds) const {
  Pose pose;
  const Point head{home_.x + sway_x_.at(seconds), home_.y + sway_y_.at(seconds)};
  const double tilt = nod_.at(seconds), lean = 0.35 * sway_x_.at(seconds);
  const double r = head_;
  const Point neck = polar(head, M_PI / 2 + tilt, 1.45 * r);
  const double chest_y = neck.y + 0.55 * r;
  const Point left{neck.x - lean + shoulder_width_ * r, chest_y},
      right{neck.x - lean - shoulder_width_ * r, chest_y};
  const Point chest{neck.x - lean, chest_y + 0.5 * r}, hips{neck.x - 2 * lean, chest_y + 4.2 * r};
  const double breath = 1 + breath_.at(seconds);
  pose.body = chest;

  for (const double side : {-1.0, 1.0}) {
    const Point hip{hips.x + side * 0.55 * waist_ * r, hips.y};
    const Point foot{hip.x + side * 0.5 * r, hip.y + 6 * r};
    pose.behind.push_back({hip, foot, 0.75 * r, 0.5 * r, Material::trousers});
  }
  pose.behind.push_back({chest, hips, waist_ * breath * r, 0.95 * waist_ * r, Material::cloth});
  pose.behind.push_back({left, right, 0.6 * r, 0.6 * r, Material::cloth});

  for (const Lock& lock : locks_) pose.strands.push_back(strand(lock, head, tilt, seconds));

  pose.before.push_back({head, neck, 0.5 * r, 0.45 * r, Material::skin});
  const Point crown = polar(head, -M_PI / 2 + tilt, 0.18 * r);
  pose.before.push_back({polar(crown, tilt, 0.12 * r), polar(crown, tilt + M_PI, 0.12 * r),
                         0.98 * r, 0.98 * r, Material::hair});
  const Point brow = polar(head, M_PI / 2 + tilt, 0.15 * r),
              chin = polar(head, M_PI / 2 + tilt, 0.5 * r);
  pose.before.push_back({brow, chin, 0.78 * r, 0.62 * r, Material::skin});
  for (const double side : {0.0, M_PI}) {
    const Point eye = polar(brow, side + tilt, 0.32 * r);
    pose.before.push_back({eye, eye, 0.1 * r, 0.1 * r, Material::eye});
  }
  if (arms_) {
    add_arm(left, 1, seconds, pose);
    add_arm(right, 0, seconds, pose);
  }
  return pose;
}

Colour Figure::colour(Material material) const {
  switch (material) {
    case Material::cloth:
      return cloth_;
    case Material::trousers:
      return trousers_;
    case Material::skin:
      return skin_;
    case Material::hair:
      return hair_;
    case Material::eye:
      break;
  }
  return {30, 24, 22};
}

}  // namespace mattec::nano
