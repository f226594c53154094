// The five matting metrics, as the evaluation script of Robust Video Matting defines them
// (evaluation/evaluate_lr.py). Lower is better for each.
#pragma once

#include <cstdint>
#include <vector>

namespace mattec::quant {

// Means over the frames of one clip. With p, t = 8-bit alpha / 255 and N pixels a frame:
struct MattingScores {
  int frames = 0;
  double mad = 0;    // mean |p - t| * 1e3
  double mse = 0;    // mean (p - t)^2 * 1e3
  double grad = 0;   // sum (|grad p| - |grad t|)^2 / 1e3, each normalised to 0..1, sigma 1.4
  double conn = 0;   // sum |phi_p - phi_t| / 1e3, connectivity at thresholds of 0.1
  double dtssd = 0;  // sqrt(mean ((p_k - p_{k-1}) - (t_k - t_{k-1}))^2) * 1e2; first frame: 0
};

// Takes the frames of one clip in order; keeps the previous frame and sums, nothing else.
class MattingMetrics {
 public:
  // `prediction` and `truth`: width * height bytes of alpha, rows without padding.
  // Throws Error for an empty frame or one of another size than the clip's first.
  void add(const uint8_t* prediction, const uint8_t* truth, int width, int height);

  // All zero before the first frame.
  MattingScores scores() const;

 private:
  int width_ = 0, height_ = 0;
  MattingScores sums_;
  std::vector<uint8_t> previous_prediction_, previous_truth_;
};

// Mean of each metric over clips, every clip counting the same; frames are added up.
MattingScores mean_of(const std::vector<MattingScores>& clips);

// Single frames, as MattingMetrics sums them up.
double gradient_error(const uint8_t* prediction, const uint8_t* truth, int width, int height);
double connectivity_error(const uint8_t* prediction, const uint8_t* truth, int width, int height);

}  // namespace mattec::quant
