#include "quant/layer_errors.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "base/error.h"
#include "quant/executor.h"
#include "quant/play.h"
#include "quant/simulate.h"

namespace mattec::quant {
namespace {

// Sums of squares of one tensor over all frames.
struct Sums {
  double exact = 0, weights = 0, own = 0, accumulated = 0;
};

double squares(const torch::Tensor& value) { return value.square().sum().item<double>(); }

double relative(double error, double exact) {
  if (exact == 0) return error == 0 ? 0 : 1;
  return std::sqrt(error / exact);
}

std::vector<uint8_t> bytes_of(const torch::Tensor& alpha) {
  // 1e-3: k / 255 * 255 must not fall below k.
  const torch::Tensor bytes = torch::floor(alpha * 255 + 1e-3).to(torch::kByte).contiguous();
  return {bytes.data_ptr<uint8_t>(), bytes.data_ptr<uint8_t>() + bytes.numel()};
}

// Three networks in step: the float one; the quantized one, every tensor of which is replaced by
// the float one's as soon as it was compared, so that errors do not add up; and the quantized one
// as it is. All run the quantized graph's operations, whose copies the float one just passes on,
// so a tensor has one number in all.
class Comparer {
 public:
  // `tell` is called for every tensor of the three, and may throw.
  Comparer(const ir::Graph& fused, const ir::Graph& quantized, std::function<void()> tell)
      : graph_(quantized),
        exact_graph_(with_float_borders(quantized, fused)),
        exact_(exact_graph_, channels_last_executor(fused).parameters),
        forced_(simulator(quantized)),
        quantized_(simulator(quantized)),
        alpha_(alpha_output(quantized)),
        values_(quantized.tensors.size()),
        sums_(quantized.tensors.size()),
        tell_(std::move(tell)) {
    exact_.hooks.on_store = [this](ir::TensorId id, const torch::Tensor& value) {
      tell_();
      values_[static_cast<size_t>(id)] = value;
      sums(id).exact += squares(value);
      return value;
    };
    forced_.hooks.on_store = [this, round = forced_.hooks.on_store](ir::TensorId id,
                                                                    const torch::Tensor& value) {
      tell_();
      const torch::Tensor& exact = values_[static_cast<size_t>(id)];
      sums(id).weights += squares(value - exact);
      sums(id).own += squares(round(id, value) - exact);
      return exact;
    };
    quantized_.hooks.on_store = [this, round = quantized_.hooks.on_store](
                                    ir::TensorId id, const torch::Tensor& value) {
      tell_();
      torch::Tensor rounded = round(id, value);
      sums(id).accumulated += squares(rounded - values_[static_cast<size_t>(id)]);
      return rounded;
    };
  }

  Comparer(const Comparer&) = delete;  // the hooks hold its address
  Comparer& operator=(const Comparer&) = delete;

  ClipMattes play(const Clip& clip, int frames) {
    std::vector<torch::Tensor> exact_states, forced_states, quantized_states;
    ClipMattes mattes;
    for (int t = 0; t < frames; ++t) {
      const torch::Tensor input = network_input(clip[static_cast<size_t>(t)]);
      forced_states = exact_states;
      const torch::Tensor exact = exact_.step(input, exact_states)[alpha_];
      forced_.step(input, forced_states);
      const torch::Tensor quantized = quantized_.step(input, quantized_states)[alpha_];
      mattes.alpha_difference += (quantized - exact).abs().mean().item<double>() / frames;
      if (t + 1 < frames) continue;
      mattes.frame = clip[static_cast<size_t>(t)];
      mattes.exact = bytes_of(exact);
      mattes.quantized = bytes_of(quantized);
    }
    return mattes;
  }

  std::vector<LayerError> layers() {
    std::vector<LayerError> layers;
    for (const ir::Op& op : graph_.ops) {
      if (op.kind == ir::OpKind::slice) continue;
      const Sums& sum = sums(op.output);
      layers.push_back({op.name, relative(sum.weights, sum.exact), relative(sum.own, sum.exact),
                        relative(sum.accumulated, sum.exact)});
    }
    return layers;
  }

 private:
  Sums& sums(ir::TensorId id) { return sums_[static_cast<size_t>(id)]; }

  const ir::Graph& graph_;
  const ir::Graph exact_graph_;
  Executor exact_, forced_, quantized_;
  size_t alpha_;
  std::vector<torch::Tensor> values_;  // the float network's, of this frame
  std::vector<Sums> sums_;
  std::function<void()> tell_;
};

}  // namespace

LayerComparison compare_layers(const ir::Graph& fused, const ir::Graph& quantized,
                               const std::vector<Clip>& clips, int frames_per_clip,
                               const Progress& progress) {
  if (clips.empty() || frames_per_clip < 1)
    throw Error("quantize: nothing to compare the networks on; give at least one clip");
  const torch::NoGradGuard no_gradients;
  LayerComparison comparison;
  std::string what;
  const auto tell = [&] {
    if (!progress) return;
    progress(static_cast<double>(comparison.clips.size()) / static_cast<double>(clips.size()),
             what);
  };
  Comparer comparer(fused, quantized, tell);
  for (const Clip& clip : clips) {
    what = "comparing layers with the float network's, clip " +
           std::to_string(comparison.clips.size() + 1) + " of " + std::to_string(clips.size());
    const int frames = std::min(frames_per_clip, static_cast<int>(clip.size()));
    comparison.clips.push_back(comparer.play(clip, frames));
  }
  tell();
  comparison.layers = comparer.layers();
  return comparison;
}

}  // namespace mattec::quant
