// A small network by hand, in the records that the compiler emits, and an independent plain version
// of it. Its results depend on every halo pixel, on the recurrent state and on the floating-point
// environment, so that any of them going wrong shows in the matte.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/model.h"

namespace mattec::test {

// How often each kernel ran, counted by the kernels themselves (reset by whoever wants to know).
struct KernelCalls {
  int mix = 0, matte = 0, foreground = 0;
};
KernelCalls take_kernel_calls();

class HandMadeNetwork {
 public:
  HandMadeNetwork(int width, int height, int rows_per_task);
  HandMadeNetwork(const HandMadeNetwork&) = delete;
  HandMadeNetwork& operator=(const HandMadeNetwork&) = delete;

  const mattec_model* model() const { return &plan.model; }
  const uint8_t* at(int64_t offset) const { return arena + plan.tensors_offset + offset; }

  mattec_plan plan = {};
  std::vector<mattec_frame_record> frames;
  std::vector<mattec_step_record> steps;
  std::vector<mattec_state_record> states;
  mattec_halo mixed = {}, colors = {};  // the two tensors that the first step writes
  std::vector<uint8_t> constants;
  uint8_t* arena = nullptr;  // arena_bytes, poisoned with 0xCD

 private:
  int64_t place(int64_t bytes);  // in the arena, with unused bytes around
  mattec_halo tensor(int halo, int pixel_bytes, const std::vector<uint8_t>& pattern);
  int64_t constant(const std::vector<uint8_t>& bytes);
  void add_steps(int rows_per_task, int64_t state);

  int width_, height_;
  int64_t used_ = 0;
  std::vector<std::vector<mattec_operand>> operands_;
  std::vector<mattec_halo> halos_;
  std::vector<uint8_t> memory_;
};

// The same network on plain arrays.
class PlainNetwork {
 public:
  PlainNetwork(int width, int height);
  // rgb: [row][column][3].
  void step(const std::vector<uint8_t>& rgb);
  void reset();
  std::vector<uint8_t> alpha;       // [row][column]
  std::vector<uint8_t> foreground;  // [row][column][3]

 private:
  int width_, height_;
  std::vector<int16_t> state_;
};

// A reproducible picture, [row][column][3].
std::vector<uint8_t> noise_picture(int width, int height, uint32_t seed);

// Images on plain arrays.
mattec_image rgb_image(std::vector<uint8_t>& pixels, int width, int height);
mattec_image gray_image(std::vector<uint8_t>& pixels, int width, int height);

// Steps through `count` noise pictures and expects alpha and foreground of the plain version.
void expect_matches_plain(HandMadeNetwork& network, const mattec_options* options, int count);

}  // namespace mattec::test
