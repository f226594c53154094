// Random weights and moving pictures for the frontend's tests.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>

#include "frontend/networks.h"

namespace mattec::testing {

// Weights that keep the activations' size through the layers; the same for a seed.
frontend::Weights random_weights(const frontend::NetworkShape& shape, uint64_t seed);

// The same weights with batch normalisation after every convolution that may have it.
void add_random_batch_norms(frontend::Weights& weights, uint64_t seed);

// Frame `time` of a moving picture: smooth colours, an edge, a little noise. [1, 3, height, width].
torch::Tensor moving_picture(int64_t height, int64_t width, int time);

double largest_difference(const torch::Tensor& a, const torch::Tensor& b);

// A folder that is removed in the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

}  // namespace mattec::testing
