// Every rounding of ir/arithmetic.h against values worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "ir/arithmetic.h"

namespace mattec::ir {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(ToGrid, TiesGoToEven) {
  const auto near = [](float value) {
    return to_grid(value, Rounding::nearest_even, 100, 0, 255) - 100;
  };
  EXPECT_EQ(near(0.5F), 0);
  EXPECT_EQ(near(1.5F), 2);
  EXPECT_EQ(near(2.5F), 2);
  EXPECT_EQ(near(-0.5F), 0);
  EXPECT_EQ(near(-1.5F), -2);
  EXPECT_EQ(near(-2.5F), -2);
  EXPECT_EQ(near(0.50000006F), 1);
  EXPECT_EQ(near(0.49999997F), 0);  // floor(x + 0.5) would give 1
}

TEST(ToGrid, ClampsEveryFloat) {
  const auto near = [](float value) { return to_grid(value, Rounding::nearest_even, 7, 3, 250); };
  EXPECT_EQ(near(1e30F), 250);
  EXPECT_EQ(near(-1e30F), 3);
  EXPECT_EQ(near(infinity), 250);
  EXPECT_EQ(near(-infinity), 3);
  EXPECT_EQ(near(std::nanf("")), 3);
  EXPECT_EQ(near(243.4F), 250);
  EXPECT_EQ(near(242.4F), 249);
  EXPECT_EQ(near(-3.6F), 3);
}

TEST(ToGrid, DownTruncates) {
  const auto down = [](float value) { return to_grid(value, Rounding::down, 0, 0, 255); };
  EXPECT_EQ(down(0.99999994F), 0);
  EXPECT_EQ(down(1.0F), 1);
  EXPECT_EQ(down(254.99998F), 254);
  EXPECT_EQ(down(255.5F), 255);
  EXPECT_EQ(down(infinity), 255);
  EXPECT_EQ(down(-0.5F), 0);
  EXPECT_EQ(down(-1e30F), 0);
  EXPECT_EQ(down(std::nanf("")), 0);
}

TEST(Bounds, FollowTheActivation) {
  const Grid grid{8, false, {0.01F, 0.001F, 0.4F}, {20, 30, 40}};
  EXPECT_EQ(epilogue_bounds(Activation::none, grid, 0).lowest, 0);
  EXPECT_EQ(epilogue_bounds(Activation::none, grid, 0).highest, 255);
  EXPECT_EQ(epilogue_bounds(Activation::relu, grid, 1).lowest, 30);
  EXPECT_EQ(epilogue_bounds(Activation::relu, grid, 1).highest, 255);
  EXPECT_EQ(epilogue_bounds(Activation::clamp01, grid, 0).lowest, 20);
  EXPECT_EQ(epilogue_bounds(Activation::clamp01, grid, 0).highest, 120);
  EXPECT_EQ(epilogue_bounds(Activation::clamp01, grid, 1).highest, 255);  // 1000 does not fit
  EXPECT_EQ(epilogue_bounds(Activation::clamp01, grid, 2).highest, 42);   // 2.5, a tie
  EXPECT_EQ(epilogue_bounds(Activation::tanh, grid, 1).lowest, 0);
  const Grid four{4, false, {1.0F}, {3}};
  EXPECT_EQ(epilogue_bounds(Activation::relu, four, 0).highest, 15);
}

TEST(Halo, IsTheNearestInteger) {
  const Grid grid{8, false, {0.5F, 0.25F}, {10, 20}};
  EXPECT_EQ(halo_value(grid, 0, 0.0F), 10);
  EXPECT_EQ(halo_value(grid, 1, 0.0F), 20);
  EXPECT_EQ(halo_value(grid, 0, 0.25F), 10);  // half a step: to even
  EXPECT_EQ(halo_value(grid, 0, 0.75F), 12);
  EXPECT_EQ(halo_value(grid, 0, -0.75F), 8);
  EXPECT_EQ(halo_value(grid, 1, 1e30F), 255);
  EXPECT_EQ(halo_value(grid, 1, -1e30F), 0);
  EXPECT_EQ(halo_value({8, false, {1.0F / 255.0F}, {0}}, 0, 0.485F), 124);
}

TEST(Multipliers, AreQuotientsOfScales) {
  EXPECT_EQ(requantize_multiplier(0.5F, 0.25F), 2.0F);
  EXPECT_EQ(product_multiplier(0.5F, 0.75F, 0.25F), 1.5F);
  EXPECT_EQ(pool_multiplier(0.5F, 0.25F, 8), 0.25F);
  EXPECT_EQ(blend_multiplier(0.125F), 0.125F);
  // Derived in double: the product leaves binary32, the quotient does not.
  EXPECT_EQ(product_multiplier(0x1p-100F, 0x1p-100F, 0x1p-120F), 0x1p-80F);
  const EpilogueConstants linear = epilogue_constants(Activation::relu, 0.5F, 0.25F, 0.125F);
  EXPECT_EQ(linear.to_grid, 2.0F);
  EXPECT_EQ(linear.residual, 0.5F);
  const EpilogueConstants swish = epilogue_constants(Activation::hardswish, 0.5F, 0.25F, 0.125F);
  EXPECT_EQ(swish.to_real, 0.5F);
  EXPECT_EQ(swish.to_grid, static_cast<float>(1.0 / 1.5));
  EXPECT_EQ(epilogue_constants(Activation::tanh, 0.5F, 0.25F, 0).to_grid, 4.0F);
}

// A fused multiply-add or a sum before the products would be "more exact" and is wrong.
TEST(Epilogue, RoundsEachOperation) {
  std::mt19937 random(1);
  int fused_differs = 0, reordered_differs = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto acc = static_cast<int32_t>(random() % 2000001) - 1000000;
    const auto residual = static_cast<int32_t>(random() % 256) - 77;
    EpilogueConstants constants;
    constants.to_grid = static_cast<float>(random() % 1000003) * 1.1e-10F;
    constants.residual = static_cast<float>(random() % 1000003) * 1.3e-7F;
    constants.to_real = constants.to_grid;
    const volatile float first = static_cast<float>(acc) * constants.to_grid;
    const volatile float second = static_cast<float>(residual) * constants.residual;
    const volatile float expected = first + second;
    ASSERT_EQ(convolution_epilogue(Activation::none, constants, acc, residual, true), expected);
    ASSERT_EQ(convolution_epilogue(Activation::relu, constants, acc, residual, false), first);
    fused_differs += std::fmaf(static_cast<float>(acc), constants.to_grid, second) != expected;

    const volatile float v = static_cast<float>(acc) * constants.to_real;
    const volatile float shifted = v + 3.0F;
    const volatile float gate = std::fmin(std::fmax(shifted, 0.0F), 6.0F);
    const volatile float product = v * gate;
    const volatile float swish = product * constants.residual;
    EpilogueConstants other = constants;
    other.to_grid = constants.residual;
    ASSERT_EQ(convolution_epilogue(Activation::hardswish, other, acc, 0, false), swish);
    const volatile float grid_first = v * other.to_grid;
    reordered_differs += grid_first * gate != swish;
  }
  EXPECT_GT(fused_differs, 100);
  EXPECT_GT(reordered_differs, 100);
}

TEST(Epilogue, Activations) {
  const EpilogueConstants swish = epilogue_constants(Activation::hardswish, 0.5F, 0.25F, 0);
  const auto run = [&](int32_t acc) {
    return convolution_epilogue(Activation::hardswish, swish, acc, 0, false);
  };
  EXPECT_EQ(run(-6), 0.0F);  // v = -3
  EXPECT_EQ(run(-7), 0.0F);
  EXPECT_FLOAT_EQ(run(2), 1.0F * 4 / 6 / 0.25F);  // v = 1
  EXPECT_FLOAT_EQ(run(8), 16.0F);                 // v = 4, past the knee
  const EpilogueConstants sigmoid = epilogue_constants(Activation::hardsigmoid, 0.5F, 0.25F, 0);
  EXPECT_FLOAT_EQ(convolution_epilogue(Activation::hardsigmoid, sigmoid, 2, 0, false),
                  4.0F * 4 / 6);
  EXPECT_FLOAT_EQ(convolution_epilogue(Activation::hardsigmoid, sigmoid, 100, 0, false), 4.0F);
  EXPECT_EQ(convolution_epilogue(Activation::hardsigmoid, sigmoid, -100, 0, false), 0.0F);
}

TEST(Tanh, StaysNearTheFunction) {
  double worst = 0, worst_sigmoid = 0;
  for (int i = -120000; i <= 120000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    worst = std::max(worst, std::fabs(tanh_approximation(x) - std::tanh(static_cast<double>(x))));
    worst_sigmoid = std::max(worst_sigmoid, std::fabs(sigmoid_approximation(x) -
                                                      1 / (1 + std::exp(-static_cast<double>(x)))));
    ASSERT_EQ(tanh_approximation(-x), -tanh_approximation(x));
  }
  EXPECT_LT(worst, 8.2e-4);
  EXPECT_LT(worst_sigmoid, 4.1e-4);
}

// Bits, so that an optimiser or another order of the same formula is noticed on any machine.
TEST(Tanh, GoldenBits) {
  EXPECT_EQ(tanh_approximation(0.0F), 0.0F);
  EXPECT_EQ(tanh_approximation(infinity), tanh_approximation(tanh_limit));
  EXPECT_EQ(tanh_approximation(-infinity), -tanh_approximation(tanh_limit));
  EXPECT_EQ(sigmoid_approximation(0.0F), 0.5F);
  EXPECT_EQ(tanh_approximation(0.1F), 0x1.97a3c60000000p-4F);
  EXPECT_EQ(tanh_approximation(1.0F), 0x1.860f0c0000000p-1F);
  EXPECT_EQ(tanh_approximation(-2.5F), -0x1.f8f73a0000000p-1F);
  EXPECT_EQ(tanh_approximation(4.2F), 0x1.ff951a0000000p-1F);
  EXPECT_EQ(tanh_approximation(0.001F), 0x1.05bf8e0000000p-10F);
  EXPECT_EQ(sigmoid_approximation(1.0F), 0x1.7637be0000000p-1F);
  EXPECT_EQ(sigmoid_approximation(-3.0F), 0x1.8365d00000000p-5F);
  EXPECT_EQ(sigmoid_approximation(9.0F), 0x1.ffca8c0000000p-1F);
}

TEST(Blend, RoundsAndClamps) {
  const float one = 1.0F / 256;
  EXPECT_EQ(blend(0, 1234, 200, one), 1234);
  EXPECT_EQ(blend(1, 0, 129, one), 1);        // 256 / 256
  EXPECT_EQ(blend(1, 128, 129, one), 128);    // 128 / 256: tie, to even
  EXPECT_EQ(blend(3, 128, 129, one), 130);    // 384 / 256 = 1.5: to 2
  EXPECT_EQ(blend(1, 128, 127, one), 126);    // -384 / 256 = -1.5: to -2
  EXPECT_EQ(blend(255, 0, 255, one), 32385);  // 32512 * 255 / 256
  EXPECT_EQ(blend(255, -32768, 255, 1.0F), 32767);
  EXPECT_EQ(blend(255, 32767, 0, 1.0F), -32768);
}

}  // namespace
}  // namespace mattec::ir
