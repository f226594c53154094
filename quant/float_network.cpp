#include "quant/float_network.h"

#include <torch/utils.h>

#include <cstring>
#include <vector>

#include "base/error.h"
#include "quant/executor.h"

namespace mattec::quant {
namespace {

ir::Graph variant_to_play(const ir::Graph& graph, double downsample_ratio) {
  if (graph.stage == ir::Stage::quantized)
    throw Error(graph.name + ": is quantized; the integer interpreter plays it");
  const ir::Variant wanted = downsample_ratio == 1 ? ir::Variant::direct : ir::Variant::refined;
  const ir::Output* matte = graph.find_output("pha", wanted);
  if (matte == nullptr)
    throw Error(graph.name + ": has no output \"pha\"; it is no matting network");
  if (wanted == ir::Variant::refined && matte->variant != wanted)
    throw Error(graph.name + ": has no refiner; use --downsample-ratio 1");
  return ir::extract(graph, wanted);
}

int output_index(const ir::Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.outputs.size(); ++i)
    if (graph.outputs[i].name == name) return static_cast<int>(i);
  return -1;
}

// [1,C,H,W] of 0 .. 1 -> interleaved bytes, truncated.
void write_bytes(const torch::Tensor& image, uint8_t* bytes) {
  const torch::Tensor interleaved =
      image[0].mul(255).clamp(0, 255).to(torch::kUInt8).permute({1, 2, 0}).contiguous();
  std::memcpy(bytes, interleaved.data_ptr<uint8_t>(), static_cast<size_t>(interleaved.numel()));
}

}  // namespace

struct FloatNetwork::State {
  State(const ir::Graph& source, double ratio)
      : downsample_ratio(ratio),
        graph(variant_to_play(source, ratio)),
        executor(graph),
        alpha(output_index(graph, "pha")),
        foreground(output_index(graph, "fgr")) {}

  double downsample_ratio;
  ir::Graph graph;
  Executor executor;
  int alpha, foreground;
  ir::Size size;
  std::vector<torch::Tensor> recurrent;
};

FloatNetwork::FloatNetwork(const ir::Graph& graph, double downsample_ratio, int threads)
    : state_(std::make_unique<State>(graph, downsample_ratio)) {
  torch::set_num_threads(threads);
}

FloatNetwork::~FloatNetwork() = default;

void FloatNetwork::reset() {
  state_->recurrent.assign(state_->graph.states.size(), torch::Tensor());
}

void FloatNetwork::step(const uint8_t* rgb, ir::Size size, uint8_t* alpha, uint8_t* foreground) {
  const torch::NoGradGuard no_gradients;
  if (size != state_->size) {
    ir::infer_sizes(state_->graph, size, state_->downsample_ratio);  // throws for a size that fails
    state_->recurrent.assign(state_->graph.states.size(), torch::Tensor());
    state_->size = size;
  }
  // from_blob does not write; the conversion to float copies.
  const torch::Tensor frame =
      torch::from_blob(const_cast<uint8_t*>(rgb), {1, size.height, size.width, 3}, torch::kUInt8)
          .to(torch::kFloat)
          .div(255)
          .permute({0, 3, 1, 2});
  const std::vector<torch::Tensor> outputs =
      state_->executor.step(frame, state_->recurrent, state_->downsample_ratio);
  write_bytes(outputs[static_cast<size_t>(state_->alpha)], alpha);
  if (foreground == nullptr) return;
  const size_t colours = static_cast<size_t>(size.height) * size.width * 3;
  if (state_->foreground >= 0)
    write_bytes(outputs[static_cast<size_t>(state_->foreground)], foreground);
  else
    std::memcpy(foreground, rgb, colours);
}

}  // namespace mattec::quant
