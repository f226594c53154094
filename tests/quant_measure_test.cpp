// What measure_sites says beside what rounding one site alone does to alpha.
#include <gtest/gtest.h>

#include <cmath>

#include "quant/copies.h"
#include "quant/measure_policy.h"
#include "quant/play.h"
#include "quant/simulate.h"
#include "quant/weights.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::moving_pattern;
using testing::SmallMattingNetwork;

// Of every clip, the sum of squared changes of alpha over its last two frames.
class Directly {
 public:
  Directly(const ir::Graph& fused, const std::vector<Clip>& clips, const Calibration& calibration,
           const CalibrationOptions& options)
      : stored_(with_copies(fused, low(), Copies::one_per_site)),
        rounded_(quantize(fused, calibration, low(), options)) {
    assign_grids(stored_, calibration.ranges, range_method(options.method), options.channel_scales);
    for (size_t t = 0; t < clips[0].size(); ++t) {
      std::vector<torch::Tensor> batch;
      batch.reserve(clips.size());
      for (const Clip& clip : clips) batch.push_back(network_input(clip[t]));
      frames_.push_back(torch::cat(batch));
    }
    Executor exact(stored_.graph);
    reference_ = play(exact);
  }

  torch::Tensor squared_changes(const Site& site) const {
    Executor executor(stored_.graph);
    if (site.weights) {
      for (const ir::Op& op : rounded_.ops)
        if (op.name == site.name) round_weights(executor.parameters.of.at(op.name), op);
    } else {
      executor.hooks.on_store = [&](ir::TensorId id, const torch::Tensor& value) {
        const auto index = static_cast<size_t>(id);
        if (stored_.bits[index] != 4 || stored_.site[index] != site.name || is_slice(id))
          return value;
        return round_to_grid(value, *stored_.graph.tensors[index].grid);
      };
    }
    return (play(executor) - reference_).square().sum({0, 2, 3, 4}).to(torch::kDouble);
  }

  static BitPolicy low() {
    BitPolicy policy;
    policy.weights = policy.activations = 4;
    return policy;
  }

 private:
  bool is_slice(ir::TensorId id) const {
    const int producer = stored_.graph.producer(id);
    return stored_.graph.ops[static_cast<size_t>(producer)].kind == ir::OpKind::slice;
  }

  void round_weights(Parameters::Entry& entry, const ir::Op& op) const {
    const RealWeights real = real_weights(rounded_, op);
    entry.weight = torch::tensor(real.weight).reshape(entry.weight.sizes());
    entry.bias = torch::tensor(real.bias);
  }

  // [frame][clip][1][row][column], the last two frames; the states before come from the network as
  // it is.
  torch::Tensor play(Executor& executor) const {
    const torch::NoGradGuard no_gradients;
    Executor exact(stored_.graph);
    std::vector<torch::Tensor> states, alphas;
    for (size_t t = 0; t < frames_.size(); ++t) {
      const bool looked_at = t + 2 >= frames_.size();
      const torch::Tensor alpha =
          (looked_at ? executor : exact).step(frames_[t], states)[alpha_output(stored_.graph)];
      if (looked_at) alphas.push_back(alpha);
    }
    return torch::stack(alphas);
  }

  StoredGraph stored_;
  ir::Graph rounded_;
  std::vector<torch::Tensor> frames_;
  torch::Tensor reference_;
};

// A site's figure is the mean over clips of (r' a)^2, r random signs and a the change of alpha,
// whose variance is at most 2 |a|^4. In this network 4 bits move alpha by so little that the first
// order is the whole change: all sites are within 2.5 deviations of what rounding does, 5 for a
// test that lasts. A deviation is 7 to 9 %; the mean over sites must be closer.
TEST(MeasureSites, GivesWhatRoundingOneSiteDoesToAlpha) {
  constexpr int clip_count = 400;
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  std::vector<Clip> clips;
  for (uint32_t i = 0; i < clip_count; ++i) clips.push_back(moving_pattern(12, 8, 4, i));
  CalibrationOptions options;
  options.jitter_copies = 0;
  const Calibration calibration = observe(fused, {clips.begin(), clips.begin() + 20}, options);
  const Directly directly(fused, clips, calibration, options);
  double log_ratio = 0;
  int compared = 0;
  for (const SiteError& measured : measure_sites(fused, clips, calibration, options)) {
    const torch::Tensor squares = directly.squared_changes(measured.site);
    const double expected = squares.mean().item<double>();
    const double deviation = std::sqrt(2 * squares.square().sum().item<double>()) / clip_count;
    EXPECT_NEAR(measured.error, expected, 5 * deviation)
        << measured.site.name << (measured.site.weights ? ", weights" : "");
    if (measured.site.name == "fgr") {
      EXPECT_EQ(measured.error, 0) << "alpha does not depend on the foreground";
      continue;
    }
    EXPECT_GT(expected, 0) << measured.site.name;
    log_ratio += std::log(measured.error / expected);
    ++compared;
  }
  EXPECT_EQ(compared, static_cast<int>(sites_of(fused).size()) - 1);
  EXPECT_NEAR(std::exp(log_ratio / compared), 1, 0.1);
}

}  // namespace
}  // namespace mattec::quant
