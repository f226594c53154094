// The network inside the binary: it is the committed file, and it mattes clips it has never seen.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>

#include "frontend/read_network.h"
#include "ir/compare.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "quant/executor.h"

namespace mattec::nano {
namespace {

const std::string weights_path = std::string(MATTEC_SOURCE_DIR) + "/nano/nano.safetensors";

TEST(EmbeddedNetwork, IsTheCommittedFile) {
  std::ifstream file(weights_path, std::ios::binary);
  const std::vector<unsigned char> bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_LT(bytes.size(), 1u << 20);
  EXPECT_EQ(bytes, std::vector<unsigned char>(weight_file, weight_file + weight_file_size));
}

TEST(EmbeddedNetwork, IsWhatTheReaderMakesOfTheFile) {
  const ir::Graph embedded = nano_network(), read = frontend::read_network(weights_path);
  EXPECT_EQ(ir::first_difference(embedded, read, 0), "");
}

// Mean absolute difference of alpha, 0 .. 1, over the first frames of a clip, from an empty state.
double mean_absolute_difference(quant::Executor& network, uint64_t seed, int width, int height,
                                int frames, double ratio) {
  const torch::NoGradGuard no_gradients;
  const ClipGenerator clip(seed, width, height);
  std::vector<torch::Tensor> states;
  double sum = 0;
  for (int t = 0; t < frames; ++t) {
    ClipFrame truth = clip.frame(t);
    const auto tensor = [&](std::vector<uint8_t>& bytes, int channels) {
      return torch::from_blob(bytes.data(), {1, height, width, channels}, torch::kUInt8)
          .permute({0, 3, 1, 2})
          .to(torch::kFloat)
          .div(255);
    };
    const torch::Tensor alpha = network.step(tensor(truth.frame, 3), states, ratio)[1];
    sum += torch::l1_loss(alpha, tensor(truth.alpha, 1)).item<double>();
  }
  return sum / frames;
}

// Sorted, of `count` clips whose seeds the trainer never uses. An empty matte scores 0.2.
std::vector<double> differences(ir::Variant variant, int count, int width, int height, int frames,
                                double ratio) {
  const ir::Graph graph = ir::extract(nano_network(), variant);
  quant::Executor network(graph);
  std::vector<double> found;
  for (int i = 0; i < count; ++i) {
    const uint64_t seed = 2000000 + static_cast<uint64_t>(i);
    found.push_back(mean_absolute_difference(network, seed, width, height, frames, ratio));
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Bounds: about 1.3 times what the weights reach. The median, because a clip whose background
// looks like a figure fails altogether now and then; the mean, because it must stay "now and then".
TEST(EmbeddedNetwork, MattesHeldOutClips) {
  const std::vector<double> found = differences(ir::Variant::direct, 24, 256, 144, 6, 1);
  EXPECT_LT(found[12], 0.021);
  EXPECT_LT(std::accumulate(found.begin(), found.end(), 0.0) / 24, 0.055);
}

TEST(EmbeddedNetwork, RefinesWhatItMattesAtHalfTheSize) {
  const std::vector<double> found = differences(ir::Variant::refined, 6, 512, 288, 4, 0.5);
  EXPECT_LT(found[3], 0.021);
}

}  // namespace
}  // namespace mattec::nano
