// Robust Video Matting itself, at a small size: calibrated on two clips, judged on a third.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

#include "base/error.h"
#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "ir/interpreter.h"
#include "quant/calibrate.h"
#include "quant/executor.h"
#include "quant/simulate.h"
#include "shared_data.h"

namespace mattec::quant {
namespace {

constexpr int width = 256, height = 144;

Frame frame_of(const cv::Mat& bgr) {
  cv::Mat small, rgb;
  cv::resize(bgr, small, {width, height}, 0, 0, cv::INTER_AREA);
  cv::cvtColor(small, rgb, cv::COLOR_BGR2RGB);
  return {width, height, {rgb.data, rgb.data + rgb.total() * 3}};
}

Clip calibration_clip(const std::string& name, int frames) {
  cv::VideoCapture video(shared_file("clips/calibration/" + name));
  cv::Mat image;
  Clip clip;
  for (int i = 0; i < 20; ++i) video.read(image);
  while (static_cast<int>(clip.size()) < frames && video.read(image))
    clip.push_back(frame_of(image));
  return clip;
}

Clip truth_clip(int frames) {
  Clip clip;
  for (int i = 0; i < frames; ++i) {
    char name[16];
    std::snprintf(name, sizeof name, "%04d.png", i);
    const cv::Mat image = cv::imread(shared_file("clips/truth/dancer_gbike/src/") + name);
    if (image.empty()) throw Error(std::string("cannot read frame ") + name);
    clip.push_back(frame_of(image));
  }
  return clip;
}

using Alphas = std::vector<std::vector<uint8_t>>;

Alphas play(Executor& executor, size_t alpha_index, const Clip& clip) {
  const torch::NoGradGuard no_gradients;
  Alphas alphas;
  std::vector<torch::Tensor> states;
  for (const Frame& frame : clip) {
    const torch::Tensor input =
        torch::tensor(frame.rgb).reshape({1, height, width, 3}).permute({0, 3, 1, 2}) / 255.0F;
    const torch::Tensor alpha = executor.step(input, states)[alpha_index];
    const torch::Tensor bytes = torch::floor(alpha * 255 + 1e-4).to(torch::kByte).contiguous();
    alphas.emplace_back(bytes.data_ptr<uint8_t>(), bytes.data_ptr<uint8_t>() + bytes.numel());
  }
  return alphas;
}

double mean_difference(const Alphas& a, const Alphas& b) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t k = 0; k < a[i].size(); ++k, ++count) sum += std::abs(a[i][k] - b[i][k]);
  return sum / count;
}

TEST(QuantizedRvm, KeepsTheMatte) {
  const std::string weights = "models/rvm_mobilenetv3.safetensors";
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_SHARED("clips/calibration/full_body_woman.mp4");
  MATTEC_NEED_SHARED("clips/calibration/rock_man_360p.mp4");
  MATTEC_NEED_SHARED("clips/truth/dancer_gbike/src");
  const ir::Graph fused = frontend::fuse(
      ir::extract(frontend::read_network(shared_file(weights)), ir::Variant::direct));
  size_t alpha = 0;
  while (fused.outputs.at(alpha).name != "pha") ++alpha;
  CalibrationOptions options;
  options.jitter_copies = 1;
  options.window = 8;
  const Calibration calibration = observe(
      fused, {calibration_clip("full_body_woman.mp4", 8), calibration_clip("rock_man_360p.mp4", 8)},
      options);
  const ir::Graph quantized = quantize(fused, calibration, {}, options);

  const Clip clip = truth_clip(6);
  Executor reference(fused), simulated = simulator(quantized);
  const Alphas expected = play(reference, alpha, clip), close = play(simulated, alpha, clip);
  ir::Interpreter interpreter(quantized, {height, width});
  Alphas integer;
  for (const Frame& frame : clip) {
    interpreter.step(frame.rgb.data());
    integer.push_back(interpreter.output("pha"));
  }
  std::printf("mean difference of alpha bytes: float %.3f, simulator %.3f\n",
              mean_difference(integer, expected), mean_difference(integer, close));
  EXPECT_LT(mean_difference(integer, expected), 0.6);
  EXPECT_LT(mean_difference(integer, close), 0.15);
}

}  // namespace
}  // namespace mattec::quant
