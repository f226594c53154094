// The metrics against values worked out by hand and against the published script's own OpenCV
// calls (filter2D, normalize, connectedComponentsWithStats).
#include <gtest/gtest.h>

#include <cmath>
#include <opencv2/imgproc.hpp>
#include <random>

#include "base/error.h"
#include "quant/metrics.h"

namespace mattec::quant {
namespace {

using Alpha = std::vector<uint8_t>;

Alpha random_alpha(int count, uint32_t seed) {
  std::mt19937 engine(seed);
  Alpha alpha(static_cast<size_t>(count));
  // Long runs of equal values with multiples of 51 among them: regions, and thresholds that tie.
  uint8_t value = 0;
  for (uint8_t& a : alpha) {
    if (engine() % 4 == 0) value = static_cast<uint8_t>(engine() % 6 * 51);
    if (engine() % 8 == 0) value = static_cast<uint8_t>(engine() % 256);
    a = value;
  }
  return alpha;
}

cv::Mat real(const Alpha& alpha, int width, int height) {
  cv::Mat image(height, width, CV_32F);
  for (int i = 0; i < width * height; ++i)
    image.at<float>(i / width, i % width) = alpha[i] / 255.0F;
  return image;
}

cv::Mat published_gradient(const Alpha& alpha, int width, int height) {
  const double sigma = 1.4, pi = std::acos(-1.0);
  const int half = static_cast<int>(
      std::ceil(sigma * std::sqrt(-2 * std::log(std::sqrt(2 * pi) * sigma * 1e-2))));
  const auto gaussian = [&](double x) {
    return std::exp(-x * x / (2 * sigma * sigma)) / (sigma * std::sqrt(2 * pi));
  };
  cv::Mat filter(2 * half + 1, 2 * half + 1, CV_64F);
  for (int i = 0; i <= 2 * half; ++i)
    for (int j = 0; j <= 2 * half; ++j)
      filter.at<double>(i, j) =
          gaussian(i - half) * -(j - half) * gaussian(j - half) / sigma / sigma;
  filter /= cv::norm(filter);
  cv::Mat image = real(alpha, width, height), normal, x, y;
  cv::normalize(image, normal, 1.0, 0.0, cv::NORM_MINMAX);
  cv::filter2D(normal, x, -1, filter, {-1, -1}, 0, cv::BORDER_REPLICATE);
  cv::filter2D(normal, y, -1, filter.t(), {-1, -1}, 0, cv::BORDER_REPLICATE);
  cv::Mat magnitude;
  cv::sqrt(x.mul(x) + y.mul(y), magnitude);
  return magnitude;
}

double published_connectivity(const Alpha& prediction, const Alpha& truth, int width, int height) {
  const cv::Mat p = real(prediction, width, height), t = real(truth, width, height);
  cv::Mat map(height, width, CV_32F, cv::Scalar(-1));
  for (int i = 1; i <= 10; ++i) {
    const auto threshold = static_cast<float>(i * 0.1);
    const cv::Mat inside = (p >= threshold) & (t >= threshold);
    cv::Mat labels, stats, centres;
    const int count = cv::connectedComponentsWithStats(inside, labels, stats, centres, 4);
    int best = 0;
    for (int k = 1; k < count; ++k)
      if (best == 0 || stats.at<int>(k, cv::CC_STAT_AREA) > stats.at<int>(best, cv::CC_STAT_AREA))
        best = k;
    for (int k = 0; k < width * height; ++k) {
      const int y = k / width, x = k % width;
      const bool in_region = best != 0 && labels.at<int>(y, x) == best;
      if (map.at<float>(y, x) == -1 && !in_region)
        map.at<float>(y, x) = static_cast<float>((i - 1) * 0.1);
    }
  }
  double sum = 0;
  for (int k = 0; k < width * height; ++k) {
    const int y = k / width, x = k % width;
    const float level = map.at<float>(y, x) == -1 ? 1 : map.at<float>(y, x);
    const float dp = p.at<float>(y, x) - level, dt = t.at<float>(y, x) - level;
    sum += std::fabs((1 - dt * (dt >= 0.15F)) - (1 - dp * (dp >= 0.15F)));
  }
  return sum / 1000;
}

TEST(Metrics, OfTwoFramesByHand) {
  MattingMetrics metrics;
  const Alpha black(4, 0), one_step{0, 0, 0, 51}, white(4, 255);
  metrics.add(one_step.data(), black.data(), 2, 2);
  metrics.add(white.data(), white.data(), 2, 2);
  const MattingScores scores = metrics.scores();
  EXPECT_EQ(scores.frames, 2);
  EXPECT_DOUBLE_EQ(scores.mad, (0.2 / 4 + 0) / 2 * 1e3);
  EXPECT_DOUBLE_EQ(scores.mse, (0.04 / 4 + 0) / 2 * 1e3);
  // First frame 0, second: one pixel's error changes by 0.2.
  EXPECT_DOUBLE_EQ(scores.dtssd, (0 + std::sqrt(0.04 / 4)) / 2 * 1e2);
}

TEST(Metrics, OfNoFrameAreZero) {
  EXPECT_EQ(MattingMetrics().scores().frames, 0);
  EXPECT_EQ(MattingMetrics().scores().mad, 0);
  EXPECT_EQ(mean_of({}).grad, 0);
}

TEST(Metrics, RefuseFramesThatDoNotFit) {
  MattingMetrics metrics;
  const Alpha alpha(6, 0);
  EXPECT_THROW(metrics.add(alpha.data(), alpha.data(), 0, 2), Error);
  metrics.add(alpha.data(), alpha.data(), 2, 3);
  EXPECT_THROW(metrics.add(alpha.data(), alpha.data(), 3, 2), Error);
}

TEST(Metrics, MeanCountsClipsAlike) {
  MattingScores a, b;
  a.frames = 10, a.mad = 2, a.conn = 1;
  b.frames = 30, b.mad = 4, b.conn = 2;
  EXPECT_EQ(mean_of({a, b}).frames, 40);
  EXPECT_DOUBLE_EQ(mean_of({a, b}).mad, 3);
  EXPECT_DOUBLE_EQ(mean_of({a, b}).conn, 1.5);
}

TEST(Gradient, IgnoresConstantOffsetAndScale) {
  // Each frame is normalised: half-height copies of a step have the same gradient.
  Alpha full(64, 0), half(64, 100);
  for (int i = 32; i < 64; ++i) full[i] = 255, half[i] = 200;
  EXPECT_EQ(gradient_error(full.data(), half.data(), 8, 8), 0);
  const Alpha constant(64, 77), other(64, 200);
  EXPECT_EQ(gradient_error(constant.data(), other.data(), 8, 8), 0);
  EXPECT_GT(gradient_error(constant.data(), full.data(), 8, 8), 0);
}

TEST(Gradient, EqualsThePublishedFilter) {
  const int sizes[][2] = {{1, 1}, {3, 2}, {1, 17}, {37, 29}};
  for (const auto& [width, height] : sizes) {
    const Alpha p = random_alpha(width * height, 1), t = random_alpha(width * height, 2);
    const cv::Mat difference =
        published_gradient(p, width, height) - published_gradient(t, width, height);
    const double expected = cv::sum(difference.mul(difference))[0] / 1000;
    EXPECT_NEAR(gradient_error(p.data(), t.data(), width, height), expected, 1e-5 * expected + 1e-9)
        << width << "x" << height;
  }
}

TEST(Connectivity, OfARegionThatLosesTouch) {
  // A pixel of value 1 cut off from the larger region by zeros in the truth only: in the
  // intersection it never belongs to the largest region, so its level is 0 and phi is 1 - value.
  const Alpha prediction{255, 255, 0, 255}, truth{255, 255, 0, 0};
  EXPECT_DOUBLE_EQ(connectivity_error(prediction.data(), truth.data(), 4, 1), 1 / 1e3);
}

TEST(Connectivity, TakesTheFirstOfEqualRegions) {
  // Two single pixels; only the first counts as connected. The second has level 0 in both, and
  // its difference of 0.2 shows; the first one's level is 0.8 and its 0.2 shows too.
  const Alpha first{255, 0, 204}, second{204, 0, 255};
  EXPECT_DOUBLE_EQ(connectivity_error(first.data(), second.data(), 3, 1), (0.2 + 0.2) / 1e3);
  // Here the first pixel differs by less than 0.15 above its level: no error; the second, at level
  // 0, shows its 26 / 255.
  const Alpha p{204, 0, 204}, t{230, 0, 230};
  EXPECT_DOUBLE_EQ(connectivity_error(p.data(), t.data(), 3, 1), 26 / 255.0 / 1e3);
}

TEST(Connectivity, DiagonalNeighboursAreApart) {
  const Alpha prediction{255, 0, 0, 255}, truth{255, 0, 0, 204};
  EXPECT_DOUBLE_EQ(connectivity_error(prediction.data(), truth.data(), 2, 2), 0.2 / 1e3);
  // Joined, the fourth pixel has level 0.8 as part of the region, where 255 shows 0.2.
  const Alpha joined{255, 255, 0, 255}, joined_truth{255, 255, 0, 204};
  EXPECT_DOUBLE_EQ(connectivity_error(joined.data(), joined_truth.data(), 2, 2), 0.2 / 1e3);
}

TEST(Connectivity, EqualsThePublishedScript) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const int width = 9 + static_cast<int>(seed), height = 13;
    const Alpha p = random_alpha(width * height, seed),
                t = random_alpha(width * height, seed + 100);
    EXPECT_NEAR(connectivity_error(p.data(), t.data(), width, height),
                published_connectivity(p, t, width, height), 1e-6)
        << seed;
  }
}

}  // namespace
}  // namespace mattec::quant
