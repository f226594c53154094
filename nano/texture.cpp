#include "nano/texture.h"

#include <algorithm>
#include <cmath>

namespace mattec::nano {
namespace {

double smooth(double t) { return t * t * (3 - 2 * t); }

// Value noise in -1 .. 1: random values on the integer lattice, smoothly interpolated.
double lattice_noise(uint64_t seed, double x, double y) {
  const double fx = std::floor(x), fy = std::floor(y);
  const auto corner = [&](int dx, int dy) {
    const auto ix = static_cast<uint64_t>(static_cast<int64_t>(fx) + dx);
    const auto iy = static_cast<uint64_t>(static_cast<int64_t>(fy) + dy);
    return static_cast<double>(mattec::mix(seed + ix * 0x9E3779B1U + (iy << 32)) >> 11) * 0x1p-52 -
           1;
  };
  const double tx = smooth(x - fx), ty = smooth(y - fy);
  const double top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * tx;
  const double bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * tx;
  return top + (bottom - top) * ty;
}

double octaves(uint64_t seed, double x, double y, int count) {
  double sum = 0, amplitude = 0.5;
  for (int i = 0; i < count; ++i, amplitude *= 0.5, x *= 2.03, y *= 2.03) {
    sum += amplitude * lattice_noise(seed + static_cast<uint64_t>(i), x, y);
  }
  return sum;
}

int mirrored(int64_t i, int size) {
  const int64_t period = 2 * static_cast<int64_t>(size);
  i = ((i % period) + period) % period;
  return static_cast<int>(i < size ? i : period - 1 - i);
}

}  // namespace

Colour random_colour(Random& random) {
  // Around a grey, so that pale colours are as common as they are in rooms and streets.
  const double grey = random.uniform(30, 220), spread = random.uniform(5, 110);
  const auto channel = [&] {
    return static_cast<float>(std::clamp(grey + random.uniform(-1, 1) * spread, 0.0, 255.0));
  };
  const float r = channel(), g = channel(), b = channel();
  return {r, g, b};
}

Texture::Texture(Random& random, int width, int height, double unit, int objects)
    : width_(width), height_(height), pixels_(static_cast<size_t>(width) * height) {
  paint_noise(random, unit);
  for (int i = 0; i < objects; ++i) paint_object(random, unit);
  const double grain = random.uniform(0, 7);
  const uint64_t seed = random.next();
  for (size_t i = 0; i < pixels_.size(); ++i) {
    const double n = grain * (static_cast<double>(mattec::mix(seed + i) >> 11) * 0x1p-52 - 1);
    for (float* c : {&pixels_[i].r, &pixels_[i].g, &pixels_[i].b}) {
      *c = std::clamp(*c + static_cast<float>(n), 0.0F, 255.0F);
    }
  }
}

// Three colours mixed by noise, with or without stripes that the noise bends.
void Texture::paint_noise(Random& random, double unit) {
  const Colour first = random_colour(random), second = random_colour(random),
               third = random_colour(random);
  const uint64_t seed = random.next();
  const double frequency = random.uniform(1.5, 7) / unit;
  const int octave_count = 1 + random.below(4);
  const double contrast = random.uniform(0.3, 1.4);
  const bool striped = random.chance(0.35);
  const double angle = random.uniform(0, M_PI), pitch = random.uniform(20, 110) / unit;
  const double bend = random.uniform(0, 4), stripe_depth = random.uniform(0.1, 0.7);
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) {
      const double n = octaves(seed, x * frequency, y * frequency, octave_count);
      const double m = lattice_noise(seed + 99, x * frequency * 0.5, y * frequency * 0.5);
      Colour c = mix(first, second, static_cast<float>(std::clamp(0.5 + contrast * n, 0.0, 1.0)));
      c = mix(c, third, static_cast<float>(std::clamp(0.3 + 0.6 * m, 0.0, 1.0)));
      if (striped) {
        const double along = (x * std::cos(angle) + y * std::sin(angle)) * pitch + bend * n;
        c = mix(c, third, static_cast<float>(stripe_depth * (0.5 + 0.5 * std::sin(along))));
      }
      pixels_[static_cast<size_t>(y) * width_ + x] = c;
    }
  }
}

// A rectangle or an ellipse with a colour gradient and an edge that may be out of focus.
void Texture::paint_object(Random& random, double unit) {
  const Colour colour = random_colour(random), other = random_colour(random);
  const bool ellipse = random.chance(0.4);
  const double cx = random.uniform(0, width_), cy = random.uniform(0, height_);
  const double rx = random.uniform(0.04, 0.35) * unit, ry = random.uniform(0.04, 0.45) * unit;
  const double edge = random.uniform(0.5, 0.04 * unit + 0.6), gradient = random.uniform(0, 0.6);
  const int x0 = std::max(0, static_cast<int>(cx - rx - edge)),
            x1 = std::min(width_ - 1, static_cast<int>(cx + rx + edge) + 1);
  const int y0 = std::max(0, static_cast<int>(cy - ry - edge)),
            y1 = std::min(height_ - 1, static_cast<int>(cy + ry + edge) + 1);
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      const double u = std::abs(x - cx), v = std::abs(y - cy);
      const double inside =
          ellipse ? (1 - std::hypot(u / rx, v / ry)) * std::min(rx, ry) : std::min(rx - u, ry - v);
      const auto cover = static_cast<float>(std::clamp(0.5 + inside / edge, 0.0, 1.0));
      const auto t = static_cast<float>(gradient * (0.5 + 0.5 * (y - cy) / (ry + edge)));
      Colour& pixel = pixels_[static_cast<size_t>(y) * width_ + x];
      pixel = mix(pixel, mix(colour, other, t), cover);
    }
  }
}

Colour Texture::sample(double x, double y) const {
  const double fx = std::floor(x), fy = std::floor(y);
  const int x0 = mirrored(static_cast<int64_t>(fx), width_),
            x1 = mirrored(static_cast<int64_t>(fx) + 1, width_);
  const size_t row0 = static_cast<size_t>(mirrored(static_cast<int64_t>(fy), height_)) * width_,
               row1 = static_cast<size_t>(mirrored(static_cast<int64_t>(fy) + 1, height_)) * width_;
  const auto tx = static_cast<float>(x - fx), ty = static_cast<float>(y - fy);
  return mix(mix(pixels_[row0 + x0], pixels_[row0 + x1], tx),
             mix(pixels_[row1 + x0], pixels_[row1 + x1], tx), ty);
}

}  // namespace mattec::nano
