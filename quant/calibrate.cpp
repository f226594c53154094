#include "quant/calibrate.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "ir/error.h"
#include "ir/verify.h"
#include "quant/executor.h"
#include "quant/jitter.h"
#include "quant/observers.h"
#include "quant/weights.h"

namespace mattec::quant {
namespace {

// Share of the whole job that the float pass takes; the rest is weight rounding.
constexpr double pass_share = 0.9;

void check(const ir::Graph& fused, const std::vector<Clip>& clips,
           const CalibrationOptions& options) {
  if (fused.stage != ir::Stage::fused)
    throw Error("quantize: graph " + fused.name + " is " + ir::name_of(fused.stage) +
                ", not fused; read and fuse the float model");
  if (options.jitter_copies < 0 || options.frames_per_clip < 1 || options.frame_step < 1 ||
      options.positions_per_frame < 1 || options.samples_per_frame < 1)
    throw Error("quantize: calibration options must be positive");
  if (clips.empty()) throw Error("quantize: no calibration clips; give at least one video");
  for (size_t i = 0; i < clips.size(); ++i) {
    const std::string name = "quantize: calibration clip " + std::to_string(i + 1);
    if (clips[i].empty()) throw Error(name + " has no frames");
    const Frame& first = clips[i].front();
    for (const Frame& frame : clips[i])
      if (frame.width <= 0 || frame.height <= 0 || frame.width != first.width ||
          frame.height != first.height ||
          frame.rgb.size() != static_cast<size_t>(frame.width) * frame.height * 3)
        throw Error(name + " has frames of different sizes or incomplete frames");
  }
}

void set_planes(const Frame& frame, const torch::Tensor& batch, int64_t index) {
  const torch::Tensor pixels = torch::from_blob(const_cast<uint8_t*>(frame.rgb.data()),
                                                {frame.height, frame.width, 3}, torch::kByte);
  batch[index].copy_(pixels.permute({2, 0, 1}));
}

// One frame and its altered copies: float [1 + copies][3][H][W], 0 .. 1.
torch::Tensor network_input(const Frame& frame, const std::vector<ColourJitter>& copies) {
  const auto count = static_cast<int64_t>(copies.size()) + 1;
  torch::Tensor batch = torch::empty({count, 3, frame.height, frame.width});
  set_planes(frame, batch, 0);
  for (int64_t i = 1; i < count; ++i)
    set_planes(copies[static_cast<size_t>(i - 1)](frame), batch, i);
  return (batch / 255).contiguous(torch::MemoryFormat::ChannelsLast);
}

// Convolutions and interpolations run 1.3 to 3 times as fast on channels-last tensors; the layout
// of the weights decides it for what follows.
Executor channels_last_executor(const ir::Graph& graph) {
  Parameters parameters = parameters_of(graph);
  for (auto& [name, entry] : parameters.of)
    entry.weight = entry.weight.contiguous(torch::MemoryFormat::ChannelsLast);
  return Executor(graph, std::move(parameters));
}

// By default large blocks go back to the system when they are freed and are faulted in again page
// by page for the next operation: a fifth of the processor time of the float pass.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

// Plays every clip once, beside its altered copies, and lets the observers see every
// `frame_step`-th frame.
void play(const ir::Graph& graph, const std::vector<Clip>& clips, const CalibrationOptions& options,
          RangeObserver& ranges, MomentObserver& moments, const Progress& progress) {
  Executor executor = channels_last_executor(graph);
  bool watching = false;
  executor.hooks.on_store = [&](ir::TensorId id, const torch::Tensor& value) {
    if (watching) ranges.see(id, value);
    return value;
  };
  executor.hooks.on_convolution = [&](const ir::Op& op, const torch::Tensor& input) {
    if (watching && options.method != Method::minmax) moments.see(op, input);
  };
  for (size_t i = 0; i < clips.size(); ++i) {
    std::vector<ColourJitter> copies;
    copies.reserve(static_cast<size_t>(options.jitter_copies));
    for (int k = 0; k < options.jitter_copies; ++k)
      copies.emplace_back(options.seed * 1000003 + i * 101 + static_cast<uint64_t>(k) + 1);
    std::vector<torch::Tensor> states(graph.states.size());
    const int frames = std::min(options.frames_per_clip, static_cast<int>(clips[i].size()));
    for (int t = 0; t < frames; ++t) {
      watching = t % options.frame_step == 0;
      executor.step(network_input(clips[i][static_cast<size_t>(t)], copies), states);
      const double done = static_cast<double>(i) + static_cast<double>(t + 1) / frames;
      if (progress)
        progress(pass_share * done / static_cast<double>(clips.size()),
                 "playing calibration clip " + std::to_string(i + 1) + " of " +
                     std::to_string(clips.size()));
    }
  }
}

WeightOptions weight_options(const CalibrationOptions& options, const ir::Op& op) {
  WeightOptions weights;
  weights.bits = options.bits.weight_bits(op);
  weights.rounding =
      options.method == Method::gptq ? WeightRounding::gptq : WeightRounding::nearest;
  weights.least_squares_scale = options.method != Method::minmax;
  weights.bias_correction = options.method != Method::minmax;
  weights.damping = options.damping;
  return weights;
}

void quantize_weights(ir::Graph& graph, const MomentObserver& observer,
                      const CalibrationOptions& options, const Progress& progress) {
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    ir::Op& op = graph.ops[i];
    if (op.kind != ir::OpKind::conv) continue;
    const Moments moments = options.method == Method::minmax ? Moments{} : observer.moments(op);
    quantize_convolution(graph, op, moments, weight_options(options, op));
    if (progress)
      progress(pass_share + (1 - pass_share) * static_cast<double>(i + 1) /
                                static_cast<double>(graph.ops.size()),
               "rounding weights");
  }
}

}  // namespace

ir::Graph quantize(const ir::Graph& fused, const std::vector<Clip>& clips,
                   const CalibrationOptions& options, const Progress& progress) {
  check(fused, clips, options);
  const torch::NoGradGuard no_gradients;
  keep_freed_memory();
  ir::Graph graph = with_state_copies(fused);
  const std::vector<GridRule> rules = grid_rules(graph);
  RangeObserver ranges(rules, options.seed, options.samples_per_frame);
  MomentObserver moments(options.seed + 1, options.positions_per_frame);
  play(graph, clips, options, ranges, moments, progress);
  assign_grids(graph, rules, ranges.ranges(graph),
               options.method == Method::minmax ? RangeMethod::minmax : options.activation_range,
               options.bits);
  quantize_weights(graph, moments, options, progress);
  graph.stage = ir::Stage::quantized;
  ir::verify(graph, "quantized " + fused.name);
  if (progress) progress(1, "done");
  return graph;
}

}  // namespace mattec::quant
