#include "quant/flow.h"

#include <torch/nn/functional/vision.h>

#include <cmath>
#include <opencv2/imgproc.hpp>
#include <opencv2/video/tracking.hpp>

namespace mattec::quant {
namespace {

cv::Mat grey(const Frame& frame) {
  const cv::Mat rgb(frame.height, frame.width, CV_8UC3, const_cast<uint8_t*>(frame.rgb.data()));
  cv::Mat result;
  cv::cvtColor(rgb, result, cv::COLOR_RGB2GRAY);
  return result;
}

float square(const cv::Point2f& vector) { return vector.dot(vector); }

bool is_seen(const cv::Mat& back, const cv::Mat& forth, int x, int y) {
  const auto b = back.at<cv::Point2f>(y, x);
  const long px = std::lround(static_cast<float>(x) + b.x);
  const long py = std::lround(static_cast<float>(y) + b.y);
  if (px < 0 || py < 0 || px >= back.cols || py >= back.rows) return false;
  const auto f = forth.at<cv::Point2f>(static_cast<int>(py), static_cast<int>(px));
  return square(b + f) <= 0.01F * (square(b) + square(f)) + 0.5F;
}

}  // namespace

Flow flow_to_previous(const Frame& previous, const Frame& current) {
  const cv::Mat before = grey(previous), now = grey(current);
  const auto search = cv::DISOpticalFlow::create(cv::DISOpticalFlow::PRESET_FAST);
  cv::Mat back, forth;
  search->calc(now, before, back);
  search->calc(before, now, forth);
  const int64_t height = current.height, width = current.width;
  Flow flow{torch::empty({1, height, width, 2}), torch::empty({1, 1, height, width})};
  float *grid = flow.grid.data_ptr<float>(), *seen = flow.seen.data_ptr<float>();
  // grid_sample(align_corners = true) has -1 and 1 at the centres of the first and last pixels.
  const float to_x = 2.0F / static_cast<float>(width - 1);
  const float to_y = 2.0F / static_cast<float>(height - 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const auto b = back.at<cv::Point2f>(y, x);
      *grid++ = (static_cast<float>(x) + b.x) * to_x - 1;
      *grid++ = (static_cast<float>(y) + b.y) * to_y - 1;
      *seen++ = is_seen(back, forth, x, y) ? 1.0F : 0.0F;
    }
  return flow;
}

torch::Tensor warp(const torch::Tensor& previous, const Flow& flow) {
  namespace F = torch::nn::functional;
  return F::grid_sample(previous, flow.grid,
                        F::GridSampleFuncOptions()
                            .mode(torch::kBilinear)
                            .padding_mode(torch::kBorder)
                            .align_corners(true));
}

}  // namespace mattec::quant
