// What networks make of a clip, as bytes: in LibTorch and in the integer interpreter.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>
#include <vector>

#include "ir/interpreter.h"
#include "quant/executor.h"
#include "quant/frames.h"

namespace mattec::testing {

inline torch::Tensor tensor_of(const quant::Frame& frame) {
  return torch::tensor(frame.rgb)
             .reshape({1, frame.height, frame.width, 3})
             .permute({0, 3, 1, 2})
             .to(torch::kFloat) /
         255;
}

// Bytes [row][column][channel] of every output, frame after frame.
inline std::vector<int> bytes_of(quant::Executor& executor, const quant::Clip& clip) {
  const torch::NoGradGuard no_gradients;
  std::vector<int> bytes;
  std::vector<torch::Tensor> states;
  for (const quant::Frame& frame : clip)
    for (const torch::Tensor& output : executor.step(tensor_of(frame), states)) {
      const torch::Tensor q = torch::floor(output * 255 + 1e-4).permute({0, 2, 3, 1}).contiguous();
      bytes.insert(bytes.end(), q.data_ptr<float>(), q.data_ptr<float>() + q.numel());
    }
  return bytes;
}

inline std::vector<int> integer_bytes(const ir::Graph& graph, const quant::Clip& clip) {
  ir::Interpreter interpreter(graph, {clip[0].height, clip[0].width});
  std::vector<int> bytes;
  for (const quant::Frame& frame : clip) {
    interpreter.step(frame.rgb.data());
    for (const ir::Output& output : graph.outputs)
      for (const uint8_t byte : interpreter.output(output.name)) bytes.push_back(byte);
  }
  return bytes;
}

inline double mean_difference(const std::vector<int>& a, const std::vector<int>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

}  // namespace mattec::testing
