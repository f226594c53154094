// The nearest integer without a call, for loops: std::nearbyint is one here.
#pragma once

namespace mattec::quant {

// Halves to even; exact for |x| < 2^22, beyond 2^23 off by some units. Adding 1.5 * 2^23 leaves no
// bits for a fraction.
inline float nearest_even(float x) {
  constexpr float magic = 0x1.8p23F;
  return (x + magic) - magic;
}

// Likewise for |x| < 2^51.
inline double nearest_even(double x) {
  constexpr double magic = 0x1.8p52;
  return (x + magic) - magic;
}

}  // namespace mattec::quant
