// Motion between frames that is known.
#include <gtest/gtest.h>

#include <random>

#include "quant/flow.h"

namespace mattec::quant {
namespace {

// Smooth noise, seen through a window that starts at (x, y).
Frame noise_at(int x, int y, int width, int height) {
  std::mt19937 engine(3);
  torch::manual_seed(3);
  const torch::Tensor coarse = torch::rand({1, 3, 24, 24});
  const torch::Tensor fine =
      at::upsample_bicubic2d(coarse, {192, 192}, /*align_corners=*/false).clamp(0, 1);
  const torch::Tensor bytes = (fine[0].narrow(1, y, height).narrow(2, x, width) * 255)
                                  .round()
                                  .to(torch::kByte)
                                  .permute({1, 2, 0})
                                  .contiguous();
  Frame frame;
  frame.width = width;
  frame.height = height;
  frame.rgb.assign(bytes.data_ptr<uint8_t>(), bytes.data_ptr<uint8_t>() + bytes.numel());
  return frame;
}

torch::Tensor image(const Frame& frame) {
  return torch::tensor(frame.rgb)
      .reshape({1, frame.height, frame.width, 3})
      .permute({0, 3, 1, 2})
      .to(torch::kFloat);
}

// The window moves by (3, -2), so what it shows moves by (-3, 2).
TEST(Flow, FindsWhereAPixelWas) {
  const Frame before = noise_at(20, 20, 120, 90), now = noise_at(23, 18, 120, 90);
  const Flow flow = flow_to_previous(before, now);
  const torch::Tensor inner = flow.seen.narrow(2, 10, 70).narrow(3, 10, 100);
  EXPECT_GT(inner.mean().item<double>(), 0.95);
  for (const int64_t y : {20, 45, 70})
    for (const int64_t x : {20, 60, 100}) {
      EXPECT_NEAR((flow.grid[0][y][x][0].item<double>() + 1) / 2 * 119, double(x) + 3, 0.3);
      EXPECT_NEAR((flow.grid[0][y][x][1].item<double>() + 1) / 2 * 89, double(y) - 2, 0.3);
    }
  const torch::Tensor moved = warp(image(before), flow);
  const auto error = [&](const torch::Tensor& other) {
    return ((other - image(now)).abs() * flow.seen).mean().item<double>();
  };
  EXPECT_LT(error(moved), 2.0);
  EXPECT_GT(error(image(before)), 5.0);
}

TEST(Flow, DoesNotBelieveWhatWasHidden) {
  const Frame background = noise_at(0, 0, 120, 90), patch = noise_at(60, 90, 40, 40);
  const auto with_patch = [&](int at) {
    Frame frame = background;
    for (int y = 0; y < 40; ++y)
      for (int k = 0; k < 40 * 3; ++k)
        frame.rgb[static_cast<size_t>(((25 + y) * 120 + at) * 3 + k)] =
            static_cast<uint8_t>(255 - patch.rgb[static_cast<size_t>(y * 40 * 3 + k)]);
    return frame;
  };
  const Flow flow = flow_to_previous(with_patch(40), with_patch(30));
  // Columns 70 to 79 were under the patch; 5 to 25 and 90 to 115 were not.
  const auto seen = [&](int64_t from, int64_t count) {
    return flow.seen.narrow(2, 30, 30).narrow(3, from, count).mean().item<double>();
  };
  EXPECT_LT(seen(71, 8), 0.4);
  EXPECT_GT(seen(5, 20), 0.9);
  EXPECT_GT(seen(92, 22), 0.9);
}

TEST(Flow, OfFramesThatStandStillIsNone) {
  const Frame frame = noise_at(10, 10, 64, 48);
  const Flow flow = flow_to_previous(frame, frame);
  EXPECT_EQ(flow.seen.min().item<float>(), 1.0F);
  EXPECT_LT((warp(image(frame), flow) - image(frame)).abs().max().item<double>(), 0.01);
}

}  // namespace
}  // namespace mattec::quant
