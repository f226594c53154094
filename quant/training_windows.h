// What training plays: windows of the calibration clips, made as various as they can be.
#pragma once

#include <torch/serialize/archive.h>
#include <torch/types.h>

#include <cstdint>
#include <random>
#include <vector>

#include "quant/frames.h"

namespace mattec::quant {

// Whether a clip only validates: every fourth one does, so that what is learnt of some content is
// kept only if it helps on other content.
bool is_validation_clip(size_t index);

// Some frames in a row, altered alike.
struct Window {
  Clip frames;
  Clip behind;      // as many of another clip, where the subject is to be shown before it
  int warm_up = 0;  // so many frames are played before what is differentiated
};

// Random windows of all clips but those that validate, in rounds: each clip once. Every second one
// starts as a clip does, with empty states; two of three are colour-altered. Half are to be shown
// before a clip drawn at random, in colours of its own, where that is another one of their size.
class Windows {
 public:
  // `clips` must outlive it. Of `length` frames, after at most `warm_up`; each clip has both.
  Windows(const std::vector<Clip>& clips, int length, int warm_up, uint64_t seed);
  Window next();
  // All that next() depends on, but for what the constructor was given.
  void write(torch::serialize::OutputArchive& archive) const;
  // Throws c10::Error where that does not fit.
  void read(torch::serialize::InputArchive& archive);

 private:
  size_t below(size_t bound) { return engine_() % bound; }
  size_t next_clip();
  Clip part_of(const Clip& clip, size_t count);

  const std::vector<Clip>& clips_;
  const int length_, warm_up_;
  std::mt19937_64 engine_;
  std::vector<size_t> of_training_, order_;
};

// Whether two clips have frames of one size.
bool is_like(const Clip& a, const Clip& b);

// alpha F + (1 - alpha) B of a frame, one of the same size behind it and a matte [1][1][H][W].
Frame composed(const Frame& frame, const torch::Tensor& alpha, const Frame& behind);

}  // namespace mattec::quant
