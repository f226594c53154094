// Clips made by rule, with the exact matte they were composed with: a figure of soft shapes and
// strands of hair that sways in front of a moving textured background.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace mattec::nano {

// 8-bit images, rows without padding: colours [height][width][3] RGB, alpha [height][width].
// Exactly: frame = (foreground * alpha + background * (255 - alpha) + 127) / 255, rounded down.
struct ClipFrame {
  int width = 0, height = 0;
  std::vector<uint8_t> frame, foreground, background, alpha;
};

class ClipGenerator {
 public:
  // The same seed shows the same scene at every size (shapes scale with the smaller extent).
  // Throws Error unless width and height are in 1 .. 16384.
  ClipGenerator(uint64_t seed, int width, int height);
  ~ClipGenerator();
  ClipGenerator(ClipGenerator&&) noexcept;
  ClipGenerator& operator=(ClipGenerator&&) noexcept;

  // Frame `index` (>= 0; 25 frames a second) of a clip without end. Frames may be asked for in any
  // order.
  ClipFrame frame(int index) const;

 private:
  struct Scene;
  std::unique_ptr<Scene> scene_;
};

}  // namespace mattec::nano
