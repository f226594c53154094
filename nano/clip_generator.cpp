#include "nano/clip_generator.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "nano/figure.h"
#include "nano/texture.h"

namespace mattec::nano {
namespace {

constexpr double frames_per_second = 25;
constexpr int largest_extent = 16384;

// The figure as it is painted: colour already multiplied by its coverage.
struct Canvas {
  int width, height;
  std::vector<Colour> colour;
  std::vector<float> alpha;

  Canvas(int w, int h)
      : width(w), height(h), colour(static_cast<size_t>(w) * h), alpha(colour.size()) {}

  void over(int x, int y, const Colour& c, float cover) {
    const size_t i = static_cast<size_t>(y) * width + x;
    colour[i] = mix(colour[i], c, cover);
    alpha[i] += (1 - alpha[i]) * cover;
  }
};

// Calls `paint(x, y)` for the pixels whose centres lie within `margin` of the box of two points.
template <typename Paint>
void for_box(const Canvas& canvas, const Point& a, const Point& b, double margin, Paint paint) {
  const auto first = [&](double u, double v, int extent) {
    return static_cast<int>(std::clamp(std::floor(std::min(u, v) - margin), 0.0, extent * 1.0));
  };
  const auto last = [&](double u, double v, int extent) {
    return static_cast<int>(std::clamp(std::ceil(std::max(u, v) + margin), -1.0, extent - 1.0));
  };
  const int x0 = first(a.x, b.x, canvas.width), x1 = last(a.x, b.x, canvas.width);
  const int y1 = last(a.y, b.y, canvas.height);
  for (int y = first(a.y, b.y, canvas.height); y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) paint(x, y);
  }
}

// Where the point of the line a-b nearest to (x, y) lies: 0 at a, 1 at b.
double along(const Point& a, const Point& b, double x, double y) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double square = dx * dx + dy * dy;
  if (square < 1e-9) return 0;
  return std::clamp(((x - a.x) * dx + (y - a.y) * dy) / square, 0.0, 1.0);
}

double distance(const Point& a, const Point& b, double t, double x, double y) {
  const double dx = x - (a.x + (b.x - a.x) * t), dy = y - (a.y + (b.y - a.y) * t);
  return std::sqrt(dx * dx + dy * dy);
}

uint8_t to_byte(double value) {
  return static_cast<uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
}

void store(const Colour& colour, uint8_t* rgb) {
  rgb[0] = to_byte(colour.r);
  rgb[1] = to_byte(colour.g);
  rgb[2] = to_byte(colour.b);
}

}  // namespace

struct ClipGenerator::Scene {
  int width, height;
  Random random;
  Figure figure;
  double unit;
  Texture background, cloth;
  double cloth_depth;  // 0 = plain clothes, 1 = all texture
  double pan_x, pan_y, pan_rate, pan_phase, turn, light, light_rate;
  Colour lamp;

  Scene(uint64_t seed, int w, int h)
      : width(w),
        height(h),
        random(seed),
        figure(random, w, h),
        unit(std::min(w, h)),
        background(random, w + w / 4 + 2, h + h / 4 + 2, unit, 2 + random.below(14)),
        cloth(random, w / 2 + 2, h / 2 + 2, unit, 0),
        cloth_depth(random.uniform(0, 0.7)) {
    const double camera = random.chance(0.3) ? 0 : random.uniform(0.02, 0.12);  // 0 = on a tripod
    pan_x = camera * w * random.uniform(-1, 1);
    pan_y = camera * h * random.uniform(-1, 1);
    pan_rate = random.uniform(0.5, 3);
    pan_phase = random.uniform(0, 2 * M_PI);
    turn = camera * random.uniform(-0.6, 0.6);
    light = random.uniform(0, 0.12);
    light_rate = random.uniform(0.5, 4);
    const auto tint = [&] { return static_cast<float>(random.uniform(0.82, 1.0)); };
    lamp.r = tint();
    lamp.g = tint();
    lamp.b = tint();
  }

  Colour surface(const Limb& limb, double x, double y, double roundness, const Pose& pose) const;
  void paint_limb(const Limb& limb, const Pose& pose, double seconds, Canvas& canvas) const;
  void paint_strand(const Strand& strand, Canvas& canvas) const;
  Canvas paint_figure(double seconds) const;
  Colour backdrop(int x, int y, double seconds) const;
};

// Colour of a limb: `roundness` is 0 on its axis and 1 at its edge, which turns from the light.
Colour ClipGenerator::Scene::surface(const Limb& limb, double x, double y, double roundness,
                                     const Pose& pose) const {
  Colour colour = figure.colour(limb.material);
  if (limb.material == Material::cloth) {
    const Colour pattern = cloth.sample(x - pose.body.x + cloth.width() * 0.5, y - pose.body.y);
    colour = mix(colour, pattern, static_cast<float>(cloth_depth));
  }
  const auto shade = static_cast<float>(1 - 0.4 * roundness * roundness);
  return {colour.r * shade * lamp.r, colour.g * shade * lamp.g, colour.b * shade * lamp.b};
}

void ClipGenerator::Scene::paint_limb(const Limb& limb, const Pose& pose, double seconds,
                                      Canvas& canvas) const {
  const double edge = figure.edge();
  const bool loose = limb.material == Material::cloth || limb.material == Material::trousers;
  const double wobble = loose ? figure.wobble() : 0;
  const double reach = std::max(limb.from_radius, limb.to_radius) + edge + wobble;
  for_box(canvas, limb.from, limb.to, reach, [&](int x, int y) {
    const double t = along(limb.from, limb.to, x, y);
    const double radius = limb.from_radius + (limb.to_radius - limb.from_radius) * t;
    const double d = distance(limb.from, limb.to, t, x, y);
    double outside = d - radius;
    if (wobble > 0 && outside > -2 * edge - 2 * wobble) {
      outside += wobble * std::sin(28 * (x + 1.7 * y) / unit + 3 * seconds);
    }
    const double t_edge = std::clamp(0.5 - outside / (2 * edge), 0.0, 1.0);
    if (t_edge <= 0) return;
    const auto cover = static_cast<float>(t_edge * t_edge * (3 - 2 * t_edge));
    const double roundness = std::min(1.0, d / std::max(radius, 0.5));
    canvas.over(x, y, surface(limb, x, y, roundness, pose), cover);
  });
}

void ClipGenerator::Scene::paint_strand(const Strand& strand, Canvas& canvas) const {
  const Colour colour = figure.colour(Material::hair);
  const Colour lit{colour.r * lamp.r, colour.g * lamp.g, colour.b * lamp.b};
  const double segments = strand.points.size() - 1.0;
  for (size_t i = 0; i + 1 < strand.points.size(); ++i) {
    const Point &a = strand.points[i], &b = strand.points[i + 1];
    for_box(canvas, a, b, strand.width + 1, [&](int x, int y) {
      const double t = along(a, b, x, y);
      if (t <= 0 && i > 0) return;  // the end of the segment before has painted it
      const double left =
          1 - (static_cast<double>(i) + t) / segments;  // 1 at the root, 0 at the tip
      const double half = strand.width * (0.3 + 0.7 * left) / 2;
      const double inside = half + 0.5 - distance(a, b, t, x, y);
      if (inside <= 0) return;
      const double cover = strand.opacity * std::sqrt(left) * std::min(1.0, inside);
      canvas.over(x, y, lit, static_cast<float>(cover));
    });
  }
}

Canvas ClipGenerator::Scene::paint_figure(double seconds) const {
  Canvas canvas(width, height);
  const Pose pose = figure.pose(seconds);
  for (const Limb& limb : pose.behind) paint_limb(limb, pose, seconds, canvas);
  for (const Strand& strand : pose.strands) paint_strand(strand, canvas);
  for (const Limb& limb : pose.before) paint_limb(limb, pose, seconds, canvas);
  return canvas;
}

// The background as the moving camera sees it.
Colour ClipGenerator::Scene::backdrop(int x, int y, double seconds) const {
  const double swing = std::sin(pan_rate * seconds + pan_phase);
  const double angle = turn * swing;
  const double u = x - width * 0.5, v = y - height * 0.5;
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const Colour colour =
      background.sample(background.width() * 0.5 + u * cosine - v * sine + pan_x * swing,
                        background.height() * 0.5 + u * sine + v * cosine +
                            pan_y * std::sin(0.7 * pan_rate * seconds + 2 * pan_phase));
  return scaled(colour,
                static_cast<float>(1 - light * (0.5 + 0.5 * std::sin(light_rate * seconds))));
}

ClipGenerator::ClipGenerator(uint64_t seed, int width, int height) {
  if (width < 1 || height < 1 || width > largest_extent || height > largest_extent) {
    throw Error("generated clip: size " + std::to_string(width) + "x" + std::to_string(height) +
                " is out of range; width and height must be 1 to " +
                std::to_string(largest_extent));
  }
  scene_ = std::make_unique<Scene>(seed, width, height);
}
ClipGenerator::~ClipGenerator() = default;
ClipGenerator::ClipGenerator(ClipGenerator&&) noexcept = default;
ClipGenerator& ClipGenerator::operator=(ClipGenerator&&) noexcept = default;

ClipFrame ClipGenerator::frame(int index) const {
  const double seconds = index / frames_per_second;
  const Canvas canvas = scene_->paint_figure(seconds);
  ClipFrame result;
  result.width = scene_->width;
  result.height = scene_->height;
  const size_t count = canvas.alpha.size();
  result.frame.resize(3 * count);
  result.foreground.resize(3 * count);
  result.background.resize(3 * count);
  result.alpha.resize(count);
  const Colour elsewhere = scene_->figure.colour(Material::cloth);
  for (size_t i = 0; i < count; ++i) {
    const int x = static_cast<int>(i) % result.width, y = static_cast<int>(i) / result.width;
    const float alpha = canvas.alpha[i];
    const bool covered = alpha > 1e-4F;
    store(covered ? scaled(canvas.colour[i], 1 / alpha) : elsewhere, &result.foreground[3 * i]);
    store(scene_->backdrop(x, y, seconds), &result.background[3 * i]);
    result.alpha[i] = to_byte(255.0 * alpha);
    const int a = result.alpha[i];
    for (size_t k = 3 * i; k < 3 * i + 3; ++k) {
      result.frame[k] = static_cast<uint8_t>(
          (result.foreground[k] * a + result.background[k] * (255 - a) + 127) / 255);
    }
  }
  return result;
}

}  // namespace mattec::nano
