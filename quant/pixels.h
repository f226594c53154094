// Loops over the pixels of channels-last tensors where LibTorch's operations on strided views took
// half the time of calibration.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace mattec::quant {

// A float tensor [N][C][H][W] whose channels lie side by side.
class Pixels {
 public:
  explicit Pixels(const torch::Tensor& value);  // copies it if they do not
  int64_t channels() const { return tensor_.size(1); }
  int64_t batch() const { return tensor_.size(0); }
  int64_t height() const { return tensor_.size(2); }
  int64_t width() const { return tensor_.size(3); }
  const float* at(int64_t n, int64_t y, int64_t x) const {
    return data_ + n * tensor_.stride(0) + y * tensor_.stride(2) + x * tensor_.stride(3);
  }

 private:
  torch::Tensor tensor_;
  const float* data_;
};

// Least and largest value of each channel, [C]; not a number where one is not finite.
struct ChannelExtremes {
  torch::Tensor lowest, highest;
};
ChannelExtremes channel_extremes(const Pixels& pixels);

// What the taps of a k x k filter meet at output positions, [positions][k*k][C]: rows and columns
// of the first tap and the distance of the next; `border` [C] outside.
struct Window {
  torch::Tensor n, y, x;  // long [positions]
  int kernel = 1, dilation = 1;
};
torch::Tensor columns_at(const Pixels& pixels, const Window& window, const torch::Tensor& border);

// Sums over positions of weight x x' for each channel, [C][taps][taps], of columns
// [positions][taps][C] and weights [positions].
torch::Tensor channel_moments(const torch::Tensor& columns, const torch::Tensor& weight);

}  // namespace mattec::quant
