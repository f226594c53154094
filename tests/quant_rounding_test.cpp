// Rounding that gradients pass through, against its definition.
#include <gtest/gtest.h>

#include <cmath>

#include "quant/rounding.h"

namespace mattec::quant {
namespace {

using torch::Tensor;

// Values of channel 0 and 1, one per pixel.
Tensor pixels(const std::vector<float>& first, const std::vector<float>& second) {
  const auto count = static_cast<int64_t>(first.size());
  return torch::cat({torch::tensor(first).reshape({1, 1, 1, count}),
                     torch::tensor(second).reshape({1, 1, 1, count})},
                    1);
}

std::vector<float> channel(const Tensor& tensor, int64_t c) {
  const Tensor flat = tensor[0][c].flatten().contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

const ir::Grid two_channels{4, false, {0.5F, 2}, {3, 0}};  // -1.5 .. 6 and 0 .. 30

TEST(RoundThrough, RoundsAndClampsEachChannelOnItsGrid) {
  const Tensor x = pixels({0.6F, -0.8F, -9, 9, 0.25F}, {0.6F, -0.8F, 29.5F, 99, 3});
  const Tensor even = round_through(x, two_channels, GridRounding::nearest_even);
  EXPECT_EQ(channel(even, 0), (std::vector<float>{0.5F, -1, -1.5F, 6, 0}));
  EXPECT_EQ(channel(even, 1), (std::vector<float>{0, 0, 30, 30, 4}));
  const Tensor down = round_through(x, two_channels, GridRounding::down);
  EXPECT_EQ(channel(down, 0), (std::vector<float>{0.5F, -1, -1.5F, 6, 0}));
  EXPECT_EQ(channel(down, 1), (std::vector<float>{0, 0, 28, 30, 2}));
  const Tensor up = round_through(x, two_channels, GridRounding::half_up);
  EXPECT_EQ(channel(up, 0)[4], 0.5F);
  EXPECT_TRUE(round_through(x, two_channels, GridRounding::none).equal(x));
}

TEST(RoundThrough, PassesGradientsInsideTheGridOnly) {
  const Tensor x = pixels({0.6F, -1.6F, -1.9F, 6.2F, 6.4F}, {0.6F, -0.8F, -1.2F, 30.9F, 31.1F});
  const Tensor leaf = x.clone().requires_grad_(true);
  const Tensor above = torch::arange(1, 11).to(torch::kFloat).reshape(x.sizes());
  (round_through(leaf, two_channels, GridRounding::nearest_even) * above).sum().backward();
  EXPECT_EQ(channel(leaf.grad(), 0), (std::vector<float>{1, 2, 0, 4, 0}));
  EXPECT_EQ(channel(leaf.grad(), 1), (std::vector<float>{6, 7, 0, 9, 0}));
}

// Inside, a factor moves the result by its rounding error per unit (LSQ: integers stay), outside
// by the grid's end.
TEST(RoundThrough, GivesTheFactorItsGradient) {
  const Tensor factor = torch::tensor(2.0F).requires_grad_(true);
  // On the doubled grid: 1.3 / 1 rounds to 1; 99 clamps to 12 steps of 1; 5 / 4 to 1, 99 to 15.
  const Tensor x = pixels({1.3F, 99}, {5, 99});
  const Tensor y = round_through(x, two_channels, GridRounding::nearest_even, factor);
  EXPECT_EQ(channel(y, 0), (std::vector<float>{1, 12}));
  EXPECT_EQ(channel(y, 1), (std::vector<float>{4, 60}));
  y.sum().backward();
  EXPECT_NEAR(factor.grad().item<float>(), ((1 - 1.3F) * 1 + 12 + (1 - 1.25F) * 4 + 15 * 4) / 2,
              1e-4);
}

TEST(RoundThrough, IsTheSameWithOneAndTwoThreads) {
  torch::manual_seed(1);
  const Tensor x = 10 * torch::randn({2, 2, 90, 110}), above = torch::randn(x.sizes());
  std::vector<Tensor> results;
  const int before = at::get_num_threads();
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Tensor leaf = x.clone().requires_grad_(true),
                 factor = torch::ones({}).requires_grad_(true);
    const Tensor y = round_through(leaf, two_channels, GridRounding::nearest_even, factor);
    (y * above).sum().backward();
    results.insert(results.end(), {y.detach(), leaf.grad(), factor.grad()});
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(results[i].equal(results[i + 3])) << i;
}

}  // namespace
}  // namespace mattec::quant
