// A random number generator of our own: the standard library's distributions differ from one
// implementation to the next, and a seed must give the same clip everywhere.
#pragma once

#include <cstdint>

namespace mattec {

// splitmix64 (Steele, Lea, Flood 2014), also the hash behind the lattice noise.
inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(mix(seed)) {}
  uint64_t next() { return mix(state_++); }
  // Uniform in [low, high).
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(next() >> 11) * 0x1p-53;
  }
  // Uniform in 0 .. count - 1.
  int below(int count) { return static_cast<int>(next() % static_cast<uint64_t>(count)); }
  bool chance(double probability) { return uniform(0, 1) < probability; }

 private:
  uint64_t state_;
};

}  // namespace mattec
