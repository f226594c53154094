#include "tests/frontend_networks.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <random>

namespace mattec::testing {

frontend::Weights random_weights(const frontend::NetworkShape& shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  frontend::Weights weights;
  for (const frontend::Parameter& parameter : frontend::parameters(shape)) {
    frontend::WeightArray& array = weights[parameter.name];
    array.shape = parameter.shape;
    size_t count = 1, inputs = 1;
    for (size_t d = 0; d < parameter.shape.size(); ++d) {
      count *= static_cast<size_t>(parameter.shape[d]);
      if (d > 0) inputs *= static_cast<size_t>(parameter.shape[d]);
    }
    const bool bias = parameter.shape.size() == 1;
    const double spread = bias ? 0.1 : std::sqrt(1.5 / static_cast<double>(inputs));
    std::normal_distribution<double> normal(0, spread);
    for (size_t i = 0; i < count; ++i) array.values.push_back(static_cast<float>(normal(random)));
  }
  return weights;
}

void add_random_batch_norms(frontend::Weights& weights, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(0.5F, 1.5F);
  frontend::Weights norms;
  for (const auto& [name, array] : weights) {
    const bool sequential =
        name.rfind(".0.bias") != std::string::npos || name.rfind(".3.bias") != std::string::npos;
    if (!sequential || name.find(".gru.") != std::string::npos) continue;
    const size_t dot = name.rfind('.') - 1;  // the index in the Sequential
    const std::string norm = name.substr(0, dot) + std::to_string(name[dot] - '0' + 1);
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) {
      frontend::WeightArray& made = norms[norm + part];
      made.shape = array.shape;
      for (size_t i = 0; i < array.values.size(); ++i) {
        // Biases and means around 0, factors and variances around 1.
        const bool centred = part[1] == 'b' || std::string(part) == ".running_mean";
        made.values.push_back(uniform(random) - (centred ? 1.0F : 0.0F));
      }
    }
  }
  weights.insert(norms.begin(), norms.end());
}

torch::Tensor moving_picture(int64_t height, int64_t width, int time) {
  torch::manual_seed(1000 + static_cast<uint64_t>(time));
  const torch::Tensor y = torch::linspace(0, 3, height).reshape({1, 1, height, 1});
  const torch::Tensor x = torch::linspace(0, 4, width).reshape({1, 1, 1, width});
  const torch::Tensor phase = torch::tensor({0.0F, 1.0F, 2.0F}).reshape({1, 3, 1, 1});
  const torch::Tensor wave = torch::sin(2 * x + phase + 0.2 * time) * torch::cos(y - phase);
  const torch::Tensor blob =
      (torch::pow(x - 2 - 0.1 * time, 2) + torch::pow(y - 1.5, 2) < 1).to(torch::kFloat);
  return (0.5 + 0.3 * wave + 0.15 * blob + 0.02 * torch::randn({1, 3, height, width})).clamp(0, 1);
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  return (a - b).abs().max().item<double>();
}

ScratchFolder::ScratchFolder() {
  static int made = 0;
  path_ = std::filesystem::temp_directory_path() /
          ("mattec-test-" + std::to_string(getpid()) + "-" + std::to_string(made++));
  std::filesystem::create_directories(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace mattec::testing
