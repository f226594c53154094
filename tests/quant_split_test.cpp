// Inputs whose channels are read at two widths: the function, what calibration saw and the policy
// must stay those of the network as it was.
#include <gtest/gtest.h>

#include "quant/copies.h"
#include "quant/executor.h"
#include "quant/play.h"
#include "quant/split.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::moving_pattern;
using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;

BitPolicy low() {
  BitPolicy policy;
  policy.weights = policy.activations = 4;
  return policy;
}

std::vector<Clip> clips() { return {moving_pattern(34, 26, 6, 1), moving_pattern(34, 26, 6, 2)}; }

CalibrationOptions options() {
  CalibrationOptions options;
  options.jitter_copies = 0;
  options.positions_per_frame = 200;
  return options;
}

// Every third channel of every site that can be split.
BitPolicy every_third(const ir::Graph& fused) {
  BitPolicy policy = low();
  for (const ir::Op& op : fused.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const std::vector<std::string> sites = input_sites(fused, op);
    for (size_t j = 0; j < sites.size(); ++j)
      for (const Site& site : sites_of(fused)) {
        if (!site.has_parts || site.name != sites[j]) continue;
        std::vector<int>& high = policy.high_channels[site.name];
        high.clear();
        for (int c = fused.tensor(op.inputs[j]).channels - 1; c >= 0; c -= 3) high.push_back(c);
      }
  }
  return policy;
}

// Up to the order of float sums.
void expect_same(const torch::Tensor& found, const torch::Tensor& wanted, const std::string& what) {
  EXPECT_LE((found - wanted).abs().max().item<double>(), 1e-4 * wanted.abs().max().item<double>())
      << what;
}
void expect_same(const std::vector<float>& found, const std::vector<float>& wanted,
                 const std::string& what) {
  expect_same(torch::tensor(found), torch::tensor(wanted), what);
}

TEST(SplitChannels, KeepTheFunction) {
  for (uint32_t seed = 0; seed < 12; ++seed) {
    const ir::Graph fused =
        seed == 0 ? SmallMattingNetwork(1).graph : RandomMattingNetwork(seed).graph;
    const BitPolicy policy = every_third(fused);
    const Split split =
        split_channels(fused, {std::vector<ObservedRange>(fused.tensors.size()), {}}, policy);
    EXPECT_EQ(split.fused.ops.size() - fused.ops.size(), 2 * policy.high_channels.size());
    Executor before(fused), after(split.fused);
    std::vector<torch::Tensor> old_states, states;
    const Clip clip = moving_pattern(34, 26, 4, seed);
    for (const Frame& frame : clip) {
      const torch::Tensor input = network_input(frame);
      const auto wanted = before.step(input, old_states), found = after.step(input, states);
      for (size_t i = 0; i < wanted.size(); ++i)
        expect_same(found[i], wanted[i], "seed " + std::to_string(seed));
      expect_same(states[0], old_states[0], "state, seed " + std::to_string(seed));
    }
  }
}

// What calibration of the split network sees at the same random positions.
TEST(SplitChannels, MomentsAndRangesGoWithTheirChannels) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const Split split = split_channels(fused, observe(fused, clips(), options()), every_third(fused));
  const Calibration seen = observe(split.fused, clips(), options());
  ASSERT_EQ(split.calibration.ranges.size(), split.fused.tensors.size());
  for (const auto& [name, moments] : seen.moments) {
    expect_same(split.calibration.moments.at(name).first, moments.first, name);
    expect_same(split.calibration.moments.at(name).second, moments.second, name);
  }
  for (size_t id = fused.tensors.size(); id < split.fused.tensors.size(); ++id) {
    const std::string& name = split.fused.tensors[id].name;
    const ObservedRange &found = split.calibration.ranges[id], &wanted = seen.ranges[id];
    expect_same(found.channel_lowest, wanted.channel_lowest, name);
    expect_same(found.channel_highest, wanted.channel_highest, name);
    EXPECT_NEAR(found.highest, wanted.highest, 1e-5) << name;
    EXPECT_EQ(found.channel_samples.size(), wanted.channel_samples.size()) << name;
  }
}

TEST(SplitChannels, HaveTheirOwnBits) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  BitPolicy policy = low();
  policy.high_channels = {{"se", {6, 2}}};
  policy.activation_bits = {{"se", 4}};
  const Split split = split_channels(fused, observe(fused, clips(), options()), policy);
  const ir::Graph made = quantize(split.fused, split.calibration, split.policy, options());
  std::map<std::string, const ir::Tensor*> tensors;
  for (const ir::Tensor& tensor : made.tensors) tensors[tensor.name] = &tensor;
  EXPECT_EQ(tensors.at("se")->grid->bits, 8);
  EXPECT_EQ(tensors.at("se.low")->grid->bits, 4);
  EXPECT_EQ(tensors.at("se.high")->grid->bits, 8);
  EXPECT_EQ(tensors.at("se.low")->channels, 6);
  for (const ir::Op& op : made.ops)
    if (op.name == "se.high") {
      EXPECT_EQ(op.channels, (std::vector<int>{2, 6}));
    }
  const LowBitShare whole = low_bit_share(
                        quantize(fused, observe(fused, clips(), options()), low(), options()),
                        {26, 34}),
                    parts = low_bit_share(made, {26, 34});
  // 13 x 17 pixels, 8 filters, 2 channels
  EXPECT_NEAR((whole.share - parts.share) * whole.macs, 13 * 17 * 8 * 2, 1e-3);
}

std::string complaint(const BitPolicy& policy) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  try {
    split_channels(fused, {std::vector<ObservedRange>(fused.tensors.size()), {}}, policy);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(SplitChannels, RefuseWhatCannotBeSplit) {
  for (const char* name :
       {"stem", "stem > dw", "h > gates", "rh", "project", "last", "se > project", "up"}) {
    BitPolicy policy = low();
    policy.high_channels = {{name, {0}}};
    EXPECT_EQ(
        complaint(policy),
        std::string("bit policy: high_channels \"") + name +
            "\" of small is no input of one dense convolution that calibration gives its range");
  }
  for (const std::vector<int>& channels : {std::vector<int>{8}, {0, 0}, {0, 1, 2, 3, 4, 5, 6, 7}}) {
    BitPolicy policy = low();
    policy.high_channels = {{"se", channels}};
    EXPECT_EQ(
        complaint(policy),
        "bit policy: high_channels \"se\" must be some, but not all, of 8 channels, each once");
  }
  BitPolicy policy = low();
  policy.high_channels = {{"se", {1}}};
  policy.activation_bits = {{"se", 8}};
  EXPECT_EQ(complaint(policy),
            "bit policy: high_channels \"se\" has 8 bits for all channels anyway");
}

TEST(SplitChannels, AreSplitBeforeQuantize) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  BitPolicy policy = low();
  policy.high_channels = {{"se", {1}}};
  try {
    quantize(fused, observe(fused, clips(), options()), policy, options());
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "quantize: the policy has high channels; split_channels first");
  }
}

}  // namespace
}  // namespace mattec::quant
