#include "quant/calibrate.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include "base/error.h"
#include "ir/verify.h"
#include "quant/balance.h"
#include "quant/executor.h"
#include "quant/jitter.h"
#include "quant/observers.h"
#include "quant/parallel.h"
#include "quant/play.h"
#include "quant/simulate.h"
#include "quant/weights.h"

namespace mattec::quant {
namespace {

void check(const ir::Graph& fused, const std::vector<Clip>& clips,
           const CalibrationOptions& options) {
  if (fused.stage != ir::Stage::fused)
    throw Error("quantize: graph " + fused.name + " is " + ir::name_of(fused.stage) +
                ", not fused; read and fuse the float model");
  if (options.jitter_copies < 0 || options.window < 1 || options.frame_step < 1 ||
      options.positions_per_frame < 1 || options.samples_per_frame < 1 ||
      options.pixels_per_frame < 1)
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

// By default large blocks go back to the system when they are freed and are faulted in again page
// by page for the next operation: a fifth of the processor time of the float pass.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

// One step, and the gradient of a random projection of alpha for `moments`.
void watch_gradients(const ir::Graph& graph, Executor& executor, const torch::Tensor& input,
                     std::vector<torch::Tensor>& states, const at::Generator& generator,
                     MomentObserver& moments) {
  const torch::AutoGradMode gradients(true);
  torch::Tensor leaf = input.detach().requires_grad_(true);  // something to differentiate by
  const torch::Tensor alpha = executor.step(leaf, states)[alpha_output(graph)];
  const torch::Tensor signs = torch::randint(2, alpha.sizes(), generator, torch::kFloat) * 2 - 1;
  (alpha * signs).sum().backward();
  moments.add();
  for (torch::Tensor& state : states) state = state.detach();
}

// What is played of a clip at once: a frame of its first window and altered frames of the windows
// after it, one for each copy (where the clip has no more, of its last).
torch::Tensor pictures_at(const Clip& clip, size_t t, size_t window,
                          const std::vector<ColourJitter>& copies) {
  std::vector<torch::Tensor> pictures = {network_input(clip[t])};
  for (size_t k = 0; k < copies.size(); ++k) {
    const size_t first = std::min((k + 1) * window, clip.size() - window);
    pictures.push_back(network_input(copies[k](clip[first + t])));
  }
  return torch::cat(pictures).contiguous(torch::MemoryFormat::ChannelsLast);
}

void play(const ir::Graph& graph, const std::vector<Clip>& clips, const CalibrationOptions& options,
          RangeObserver& ranges, MomentObserver& moments, const Progress& progress) {
  Executor executor = channels_last_executor(graph);
  at::Generator generator = at::detail::createCPUGenerator(options.seed + 2);
  const bool needs_moments = options.method != Method::minmax;
  executor.hooks.on_store = [&](ir::TensorId id, const torch::Tensor& value) {
    ranges.see(id, value);
    return value;
  };
  if (needs_moments) {
    executor.hooks.on_convolution = [&](const ir::Op& op, const torch::Tensor& input) {
      moments.see(op, input);
    };
    executor.hooks.on_sum = [&](const ir::Op& op, const torch::Tensor& sum) {
      moments.see_sum(op, sum);
    };
  }
  for (size_t i = 0; i < clips.size(); ++i) {
    std::vector<ColourJitter> copies;
    copies.reserve(static_cast<size_t>(options.jitter_copies));
    for (int k = 0; k < options.jitter_copies; ++k)
      copies.emplace_back(options.seed * 1000003 + i * 101 + static_cast<uint64_t>(k) + 1);
    std::vector<torch::Tensor> states(graph.states.size());
    const size_t window = std::min(static_cast<size_t>(options.window), clips[i].size()),
                 step = static_cast<size_t>(options.frame_step);
    for (size_t t = 0; t < window; t += step) {
      const torch::Tensor input = pictures_at(clips[i], t, window, copies);
      if (needs_moments)
        watch_gradients(graph, executor, input, states, generator, moments);
      else
        executor.step(input, states);
      ranges.add();
      const double done = static_cast<double>(i) + static_cast<double>(std::min(t + step, window)) /
                                                       static_cast<double>(window);
      if (progress)
        progress(done / static_cast<double>(clips.size()), "playing calibration clip " +
                                                               std::to_string(i + 1) + " of " +
                                                               std::to_string(clips.size()));
    }
  }
}

WeightOptions weight_options(const CalibrationOptions& options, int bits) {
  WeightOptions weights;
  weights.bits = bits;
  weights.rounding =
      options.method == Method::gptq ? WeightRounding::gptq : WeightRounding::nearest;
  weights.least_squares_scale = options.method != Method::minmax;
  weights.bias_correction = options.method != Method::minmax;
  weights.damping = options.damping;
  return weights;
}

// Variance of what rounding changes of each channel that a convolution reads. At 4 bits measured: a
// channel that is mostly 0 is mostly stored as it is.
std::vector<double> rounding_noise(const StoredGraph& stored, const Calibration& calibration,
                                   const ir::Op& op) {
  std::vector<double> noise;
  for (int j = 0; j < op.segment_count(); ++j) {
    const auto id = static_cast<size_t>(op.inputs[static_cast<size_t>(j)]);
    const ir::Tensor& input = stored.graph.tensors[id];
    const ObservedRange& seen = calibration.ranges[static_cast<size_t>(stored.source[id])];
    if (stored.bits[id] != 4 || seen.channel_samples.empty()) {
      for (int c = 0; c < input.channels; ++c)
        noise.push_back(double{input.grid->scale_of(c)} * input.grid->scale_of(c) / 12);
      continue;
    }
    const torch::Tensor samples =
        torch::tensor(seen.channel_samples).reshape({-1, input.channels, 1, 1});
    const torch::Tensor change = round_to_grid(samples, *input.grid) - samples;
    const torch::Tensor variance =
        change.reshape({-1, input.channels}).to(torch::kDouble).var(0, false);
    noise.insert(noise.end(), variance.data_ptr<double>(),
                 variance.data_ptr<double>() + input.channels);
  }
  return noise;
}

void quantize_weights(StoredGraph& stored, const Calibration& calibration, const BitPolicy& policy,
                      const CalibrationOptions& options, const Progress& progress,
                      RoundingMemo& memo) {
  ir::Graph& graph = stored.graph;
  std::vector<ir::Op*> convolutions;
  for (ir::Op& op : graph.ops)
    if (op.kind == ir::OpKind::conv) convolutions.push_back(&op);
  // Those that take longest first: a thread each, since filters of one depend on each other.
  std::stable_sort(convolutions.begin(), convolutions.end(), [](const ir::Op* a, const ir::Op* b) {
    return a->conv.weight.size() > b->conv.weight.size();
  });
  std::mutex reporting;
  for_each_job(convolutions.size(), [&](size_t i) {
    ir::Op& op = *convolutions[i];
    const Moments moments =
        options.method == Method::minmax ? Moments{} : calibration.moments.at(op.name);
    std::vector<double> noise;
    if (options.method == Method::gptq) noise = rounding_noise(stored, calibration, op);
    memo.quantize(graph, op, moments, weight_options(options, policy.of_weights(op.name)), noise);
    const std::lock_guard<std::mutex> lock(reporting);
    if (progress)
      progress(static_cast<double>(i + 1) / static_cast<double>(convolutions.size()),
               "rounding weights");
  });
}

}  // namespace

RangeMethod range_method(Method method) {
  if (method == Method::gptq) return RangeMethod::channels;
  return method == Method::mse ? RangeMethod::mse : RangeMethod::minmax;
}

Calibration observe(const ir::Graph& fused, const std::vector<Clip>& clips,
                    const CalibrationOptions& options, const Progress& progress) {
  check(fused, clips, options);
  const torch::NoGradGuard no_gradients;
  keep_freed_memory();
  RangeObserver ranges(resolved_grid_rules(fused), options.seed, options.samples_per_frame,
                       options.pixels_per_frame);
  MomentObserver moments(options.seed + 1, options.positions_per_frame);
  play(fused, clips, options, ranges, moments, progress);
  Calibration calibration;
  calibration.ranges = ranges.ranges(fused);
  if (options.method != Method::minmax)
    for (const ir::Op& op : fused.ops)
      if (op.kind == ir::OpKind::conv) calibration.moments[op.name] = moments.moments(op);
  return calibration;
}

ir::Graph quantize(const ir::Graph& fused, const Calibration& calibration, const BitPolicy& policy,
                   const CalibrationOptions& options, const Progress& progress,
                   RoundingMemo* memo) {
  const torch::NoGradGuard no_gradients;
  check_policy(policy, fused);
  if (!policy.high_channels.empty())
    throw Error("quantize: the policy has high channels; split_channels first");
  StoredGraph stored = with_copies(fused, policy);
  assign_grids(stored, calibration.ranges, range_method(options.method), options.channel_scales);
  if (options.method == Method::gptq)
    balance_channels(stored, calibration.moments, policy, options.damping);
  RoundingMemo none;
  quantize_weights(stored, calibration, policy, options, progress, memo ? *memo : none);
  stored.graph.stage = ir::Stage::quantized;
  ir::verify(stored.graph, "quantized " + fused.name);
  return stored.graph;
}

}  // namespace mattec::quant
