#include "quant/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace mattec::quant {
namespace {

// --- Grad: magnitude of the Gaussian derivative ---

constexpr int half_size = 4;  // ceil(1.4 * sqrt(-2 ln(sqrt(2 pi) * 1.4 * 0.01)))
constexpr int taps = 2 * half_size + 1;

// The published 9x9 filter is the outer product of these two, divided by its Euclidean norm
// (which is the product of the two norms): it is applied here as a row and a column pass.
struct GaussianDerivative {
  std::array<float, taps> smooth{}, derivative{};
  GaussianDerivative() {
    const double sigma = 1.4;
    double smooth_norm = 0, derivative_norm = 0;
    std::array<double, taps> g{}, d{};
    for (int i = 0; i < taps; ++i) {
      const double x = i - half_size;
      g[i] = std::exp(-x * x / (2 * sigma * sigma));
      d[i] = -x * g[i];
      smooth_norm += g[i] * g[i];
      derivative_norm += d[i] * d[i];
    }
    for (int i = 0; i < taps; ++i) {
      smooth[i] = static_cast<float>(g[i] / std::sqrt(smooth_norm));
      derivative[i] = static_cast<float>(d[i] / std::sqrt(derivative_norm));
    }
  }
};

using Image = std::vector<float>;

// Linear map of the smallest value to 0 and the largest to 1; a constant image becomes 0
// (OpenCV's NORM_MINMAX does the same).
Image normalised(const uint8_t* alpha, int width, int height) {
  const size_t count = static_cast<size_t>(width) * height;
  const auto [lowest, highest] = std::minmax_element(alpha, alpha + count);
  const float range = static_cast<float>(*highest - *lowest);
  Image image(count, 0.0F);
  if (range > 0)
    for (size_t i = 0; i < count; ++i) image[i] = static_cast<float>(alpha[i] - *lowest) / range;
  return image;
}

// One-dimensional correlation along rows or columns, border replicated.
Image filtered(const Image& image, int width, int height, const std::array<float, taps>& filter,
               bool along_rows) {
  Image result(image.size());
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      float sum = 0;
      for (int i = 0; i < taps; ++i) {
        const int u = along_rows ? std::clamp(x + i - half_size, 0, width - 1) : x;
        const int v = along_rows ? y : std::clamp(y + i - half_size, 0, height - 1);
        sum += filter[i] * image[static_cast<size_t>(v) * width + u];
      }
      result[static_cast<size_t>(y) * width + x] = sum;
    }
  return result;
}

Image gradient_magnitude(const uint8_t* alpha, int width, int height) {
  static const GaussianDerivative filter;
  const Image image = normalised(alpha, width, height);
  Image x = filtered(filtered(image, width, height, filter.derivative, true), width, height,
                     filter.smooth, false);
  const Image y = filtered(filtered(image, width, height, filter.smooth, true), width, height,
                           filter.derivative, false);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sqrt(x[i] * x[i] + y[i] * y[i]);
  return x;
}

// --- Conn: how far above its threshold a pixel loses touch with the largest region ---

// Largest 4-connected region of `inside` (non-zero pixels); of equal ones the first in raster
// order. Writes 1 into `region` where it lies, 0 elsewhere.
void largest_region(const std::vector<uint8_t>& inside, int width, int height,
                    std::vector<uint8_t>& region) {
  const int count = width * height;
  std::vector<int> label(static_cast<size_t>(count), 0), stack;
  int labels = 0, best = 0, best_size = 0;
  for (int start = 0; start < count; ++start) {
    if (!inside[start] || label[start] != 0) continue;
    int size = 0;
    label[start] = ++labels;
    stack.push_back(start);
    const auto visit = [&](int pixel) {
      if (!inside[pixel] || label[pixel] != 0) return;
      label[pixel] = labels;
      stack.push_back(pixel);
    };
    while (!stack.empty()) {
      const int pixel = stack.back(), x = pixel % width;
      stack.pop_back();
      ++size;
      if (x > 0) visit(pixel - 1);
      if (x + 1 < width) visit(pixel + 1);
      if (pixel >= width) visit(pixel - width);
      if (pixel + width < count) visit(pixel + width);
    }
    if (size > best_size) best = labels, best_size = size;
  }
  for (int i = 0; i < count; ++i) region[i] = best != 0 && label[i] == best ? 1 : 0;
}

// phi of one alpha value in units of 1/510, less its constant 1: alpha and a level k * 0.1 are
// the integers 2 q and 51 k there, and 0.15 lies at 76.5, so no comparison can tie.
int disconnection(int alpha, int level) {
  const int difference = 2 * alpha - 51 * level;
  return difference > 76 ? difference : 0;
}

}  // namespace

double gradient_error(const uint8_t* prediction, const uint8_t* truth, int width, int height) {
  const Image p = gradient_magnitude(prediction, width, height);
  const Image t = gradient_magnitude(truth, width, height);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double difference = static_cast<double>(p[i]) - t[i];
    sum += difference * difference;
  }
  return sum / 1e3;
}

double connectivity_error(const uint8_t* prediction, const uint8_t* truth, int width, int height) {
  const size_t count = static_cast<size_t>(width) * height;
  std::vector<uint8_t> inside(count), region(count), level(count, 10);
  std::vector<bool> found(count, false);
  for (int i = 1; i <= 10; ++i) {
    // q / 255 >= i / 10 in integers; the ties at multiples of 51 count as inside.
    for (size_t k = 0; k < count; ++k)
      inside[k] = 10 * std::min(prediction[k], truth[k]) >= 255 * i ? 1 : 0;
    largest_region(inside, width, height, region);
    for (size_t k = 0; k < count; ++k)
      if (!found[k] && region[k] == 0) {
        level[k] = static_cast<uint8_t>(i - 1);
        found[k] = true;
      }
  }
  int64_t sum = 0;
  for (size_t k = 0; k < count; ++k)
    sum += std::abs(disconnection(prediction[k], level[k]) - disconnection(truth[k], level[k]));
  return static_cast<double>(sum) / 510 / 1e3;
}

void MattingMetrics::add(const uint8_t* prediction, const uint8_t* truth, int width, int height) {
  if (width <= 0 || height <= 0)
    throw Error("metrics: frame " + std::to_string(sums_.frames) + " is empty");
  if (sums_.frames > 0 && (width != width_ || height != height_))
    throw Error("metrics: frame " + std::to_string(sums_.frames) + " is " + std::to_string(width) +
                "x" + std::to_string(height) + ", the clip's first is " + std::to_string(width_) +
                "x" + std::to_string(height_) + "; score clips of one size each");
  width_ = width;
  height_ = height;
  const size_t count = static_cast<size_t>(width) * height;
  const bool first = sums_.frames == 0;
  int64_t absolute = 0, squared = 0, temporal = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t difference = prediction[i] - truth[i];
    absolute += std::abs(difference);
    squared += difference * difference;
    if (first) continue;
    const int64_t change = difference - (previous_prediction_[i] - previous_truth_[i]);
    temporal += change * change;
  }
  const double pixels = static_cast<double>(count);
  sums_.mad += static_cast<double>(absolute) / 255 / pixels * 1e3;
  sums_.mse += static_cast<double>(squared) / (255.0 * 255.0) / pixels * 1e3;
  sums_.dtssd += std::sqrt(static_cast<double>(temporal) / pixels) / 255 * 1e2;
  sums_.grad += gradient_error(prediction, truth, width, height);
  sums_.conn += connectivity_error(prediction, truth, width, height);
  ++sums_.frames;
  previous_prediction_.assign(prediction, prediction + count);
  previous_truth_.assign(truth, truth + count);
}

MattingScores MattingMetrics::scores() const {
  MattingScores mean = sums_;
  if (mean.frames == 0) return mean;
  for (double* value : {&mean.mad, &mean.mse, &mean.grad, &mean.conn, &mean.dtssd})
    *value /= mean.frames;
  return mean;
}

MattingScores mean_of(const std::vector<MattingScores>& clips) {
  MattingScores mean;
  if (clips.empty()) return mean;
  const double share = 1.0 / static_cast<double>(clips.size());
  for (const MattingScores& clip : clips) {
    mean.frames += clip.frames;
    mean.mad += clip.mad * share;
    mean.mse += clip.mse * share;
    mean.grad += clip.grad * share;
    mean.conn += clip.conn * share;
    mean.dtssd += clip.dtssd * share;
  }
  return mean;
}

}  // namespace mattec::quant
